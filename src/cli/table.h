/* Tables a person can read: cells aligned by what they take on a screen, numbers at the right, long
 * cells cut when standard output is a terminal and never when it is not. Control characters are
 * shown as spaces, so that data cannot steer the terminal. */
#pragma once

#include "base/base.h"

#include <stdio.h>

typedef struct Table Table;
/* A column whose cells are numbers, or numbers and nothing, stands at the right. */
typedef enum CellKind { CELL_TEXT, CELL_NUMBER, CELL_NOTHING } CellKind;

Table *table_new(Arena *arena);
void table_column(Table *table, Str title);
void table_cell(Table *table, Str text, CellKind kind); /* row by row, as many as columns */
void table_cell_json(Table *table, const Json *value);
void table_print(const Table *table, FILE *to);

/* An array of objects. `columns` is "name,bucket,rows"; NULL: every member of the first that is
 * plain. Columns that no object has are left out; numbers of bytes are shown as 1.2 MiB. */
void print_list(Arena *arena, const Json *list, const char *columns, FILE *to);
/* An object's plain members one a line, then its lists as tables of their own, with the columns
 * that `sections` names (ends with {0}; NULL: none). */
typedef struct Section {
    const char *member, *columns;
} Section;
void print_object(Arena *arena, const Json *object, const Section *sections, FILE *to);

#define SIZE_TEXT_SIZE 24
Str size_text(int64_t bytes, char buffer[SIZE_TEXT_SIZE]); /* 1.2 MiB */
size_t text_width(Str text);                               /* columns on a screen */
