/* The shell's two files. */
#pragma once

/* Runs the built-in command argv[0]: 1, or 0 if there is none of that name. */
int builtin(int argc, char **argv);
