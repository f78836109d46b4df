#pragma once

#include <stddef.h>

void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *old, size_t size);
void free(void *block);
unsigned long long strtoull(const char *s, char **end, int base);
int atoi(const char *s);
_Noreturn void exit(int status);
