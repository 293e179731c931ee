/* Text into hashed lexical features: stems, whole words and the character n-grams of each word, so
 * that "images" meets "image" and "pdftoppm" meets "pdf". A feature is a 64-bit hash, the same on
 * every machine. Thread rule: a Features belongs to one thread; it keeps its memory from text to
 * text. */
#pragma once

#include "base/base.h"

typedef enum FeatureKind { FEATURE_STEM, FEATURE_WORD, FEATURE_GRAM, FEATURE_KINDS } FeatureKind;

typedef struct Feature {
    uint64_t hash; /* 0: an empty slot */
    float count;   /* occurrences; a word's n-grams share one occurrence */
    FeatureKind kind;
} Feature;

typedef struct Features Features;

bool features_open(Features **out, Err *err);
void features_close(Features **features);
/* The distinct features of `text`, valid until the next call; order is not meaningful but fixed. */
const Feature *features_of(Features *features, Str text, size_t *count);
/* The distinct stems alone. */
const Feature *features_stems(Features *features, Str text, size_t *count);
