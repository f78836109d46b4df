/* Is this text that word? Without a branch until the end: where an instruction is emulated, a branch
 * costs as much as some ten others. So the word is a constant, and every byte of it is looked at; as
 * many can be read of the text. */
#pragma once

#include <stddef.h>

#define ALWAYS static inline __attribute__((always_inline))

/* The compiler is not to see through this and compare byte by byte after all. */
ALWAYS int is_zero(unsigned value) {
    __asm__("" : "+r"(value));
    return !value;
}

/* Does the text begin with this literal? */
#define BEGINS_WITH(text, literal) begins_with(text, literal, sizeof(literal) - 1)
ALWAYS int begins_with(const char *text, const char *literal, size_t length) {
    unsigned difference = 0;

    for (size_t i = 0; i < length; i++)
        difference |= (unsigned char)text[i] ^ (unsigned char)literal[i];
    return is_zero(difference);
}

/* The same whatever the text's case; the word has no capitals. */
ALWAYS int is_word(const char *text, const char *word, size_t length) {
    unsigned difference = 0;

    for (size_t i = 0; i < length; i++) {
        unsigned fold = word[i] >= 'a' && word[i] <= 'z' ? 0x20 : 0;
        difference |= ((unsigned char)text[i] | fold) ^ (unsigned char)word[i];
    }
    return is_zero(difference);
}
