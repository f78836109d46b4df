/* The shell's two files. */
#pragma once

/* Runs the built-in command argv[0]: its status, or -1 if there is none of that name. */
int builtin(int argc, char **argv);
