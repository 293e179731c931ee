#include "cli/table.h"

#include <locale.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#define COLUMNS_DEFAULT 100
#define CELL_WIDTH_MIN 12
#define GAP 2

typedef struct Cell {
    Str text;
    size_t width;
    CellKind kind;
} Cell;

struct Table {
    Arena *arena;
    Cell *titles;
    size_t columns, titles_cap;
    Cell *cells;
    size_t len, cap;
};

/* The locale of numbers and messages stays; only widths of characters need UTF-8. */
static locale_t utf8(void) {
    static locale_t locale;
    if (!locale) locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    return locale;
}

/* Bytes of the next character and the columns it takes. */
static size_t next_char(Str text, size_t *width) {
    wchar_t wide;
    mbstate_t state = {0};
    size_t size = mbrtowc(&wide, text.data, text.len, &state);
    if (size == 0 || size > text.len) return *width = 1, 1;
    int columns = wcwidth(wide);
    *width = columns < 0 ? 1 : (size_t)columns;
    return size;
}

size_t text_width(Str text) {
    locale_t before = utf8() ? uselocale(utf8()) : (locale_t)0;
    size_t total = 0, width;
    for (size_t at = 0; at < text.len; total += width)
        at += next_char(str_slice(text, at, text.len), &width);
    if (before) uselocale(before);
    return total;
}

/* The longest start that takes at most `max` columns. */
static Str cut(Str text, size_t max) {
    locale_t before = utf8() ? uselocale(utf8()) : (locale_t)0;
    size_t at = 0, total = 0, width;
    while (at < text.len) {
        size_t size = next_char(str_slice(text, at, text.len), &width);
        if (total + width > max) break;
        at += size;
        total += width;
    }
    if (before) uselocale(before);
    return str_slice(text, 0, at);
}

static Str tame(Arena *arena, Str text) {
    Str copy = arena_copy(arena, text);
    for (size_t i = 0; i < copy.len; i++) {
        unsigned char c = (unsigned char)copy.data[i];
        bool c1 = c == 0xC2 && i + 1 < copy.len && (unsigned char)copy.data[i + 1] < 0xA0;
        if (c < ' ' || c == 127) ((char *)copy.data)[i] = ' ';
        if (c1) ((char *)copy.data)[i] = ((char *)copy.data)[i + 1] = ' '; /* U+0080 .. U+009F */
    }
    return copy;
}

Table *table_new(Arena *arena) {
    Table *table = arena_new(arena, Table);
    table->arena = arena;
    return table;
}

static void add(Arena *arena, Cell **cells, size_t *len, size_t *cap, Str text, CellKind kind) {
    if (*len == *cap) {
        *cap = MAX(*cap * 2, 16);
        Cell *larger = arena_array(arena, Cell, *cap);
        if (*len) memcpy(larger, *cells, *len * sizeof *larger);
        *cells = larger;
    }
    Str safe = tame(arena, text);
    (*cells)[(*len)++] = (Cell){safe, text_width(safe), kind};
}

void table_column(Table *table, Str title) {
    add(table->arena, &table->titles, &table->columns, &table->titles_cap, title, CELL_TEXT);
}

void table_cell(Table *table, Str text, CellKind kind) {
    add(table->arena, &table->cells, &table->len, &table->cap, text, kind);
}

void table_cell_json(Table *table, const Json *value) {
    OWNED(text_close) Text text = {0};
    if (!value || value->kind == JSON_NULL) return table_cell(table, (Str){0}, CELL_NOTHING);
    if (value->kind == JSON_TEXT) return table_cell(table, value->text, CELL_TEXT);
    jw_json(&(JsonWriter){.out = &text}, value);
    double number;
    table_cell(table, text_str(&text), json_number(value, &number) ? CELL_NUMBER : CELL_TEXT);
}

static size_t screen_width(FILE *to) {
    struct winsize size = {0};
    if (!isatty(fileno(to))) return SIZE_MAX;
    if (ioctl(fileno(to), TIOCGWINSZ, &size) || size.ws_col == 0) return COLUMNS_DEFAULT;
    return size.ws_col;
}

static size_t *measure(const Table *table, bool *numbers) {
    size_t *widths = arena_array(table->arena, size_t, table->columns + 1);
    bool *text = arena_array(table->arena, bool, table->columns);
    for (size_t c = 0; c < table->columns; c++) widths[c] = table->titles[c].width;
    for (size_t i = 0; i < table->len; i++) {
        const Cell *cell = &table->cells[i];
        size_t c = i % table->columns;
        widths[c] = MAX(widths[c], cell->width);
        numbers[c] |= cell->kind == CELL_NUMBER;
        text[c] |= cell->kind == CELL_TEXT;
    }
    for (size_t c = 0; c < table->columns; c++) numbers[c] &= !text[c];
    return widths;
}

/* Takes from the widest column until the row fits the screen or all are narrow. */
static void squeeze(size_t *widths, size_t columns, size_t screen) {
    for (;;) {
        size_t total = 0, widest = 0;
        for (size_t c = 0; c < columns; c++) {
            total += widths[c] + GAP;
            if (widths[c] > widths[widest]) widest = c;
        }
        if (total <= screen + GAP || widths[widest] <= CELL_WIDTH_MIN) return;
        size_t excess = total - screen - GAP, room = widths[widest] - CELL_WIDTH_MIN;
        widths[widest] -= MAX(MIN(excess, room) / 2, 1);
    }
}

static void add_spaces(Text *line, size_t count) {
    for (size_t i = 0; i < count; i++) text_add_byte(line, ' ');
}

static void add_cell(Text *line, const Cell *cell, size_t width, bool right, bool last) {
    Str text = cell->text;
    size_t used = cell->width;
    if (used > width) {
        text = cut(text, width - 1);
        used = text_width(text) + 1;
    }
    size_t pad = width - MIN(used, width);
    if (right) add_spaces(line, pad);
    text_add(line, text);
    if (cell->width > width) text_add(line, STR("\xE2\x80\xA6"));
    if (!right && !last) add_spaces(line, pad);
    if (!last) add_spaces(line, GAP);
}

/* A line ends where its text does, whatever its last cell lacks. */
static void print_line(Text *line, FILE *to) {
    while (line->len > 0 && line->data[line->len - 1] == ' ') line->len--;
    text_add_byte(line, '\n');
    fwrite(line->data, 1, line->len, to);
}

static void print_row(const Table *table, const Cell *cells, const size_t *widths,
                      const bool *numbers, FILE *to) {
    OWNED(text_close) Text line = {0};
    for (size_t c = 0; c < table->columns; c++)
        add_cell(&line, &cells[c], widths[c], numbers[c], c + 1 == table->columns);
    print_line(&line, to);
}

static void print_rule(const Table *table, const size_t *widths, FILE *to) {
    OWNED(text_close) Text line = {0};
    for (size_t c = 0; c < table->columns; c++) {
        for (size_t i = 0; i < widths[c]; i++) text_add_byte(&line, '-');
        add_spaces(&line, GAP);
    }
    print_line(&line, to);
}

void table_print(const Table *table, FILE *to) {
    if (table->columns == 0) return;
    bool *numbers = arena_array(table->arena, bool, table->columns);
    size_t *widths = measure(table, numbers), screen = screen_width(to);
    if (screen != SIZE_MAX) squeeze(widths, table->columns, screen);
    print_row(table, table->titles, widths, numbers, to);
    print_rule(table, widths, to);
    for (size_t i = 0; i + table->columns <= table->len; i += table->columns)
        print_row(table, table->cells + i, widths, numbers, to);
}

Str size_text(int64_t bytes, char buffer[SIZE_TEXT_SIZE]) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < COUNT(units)) value /= 1024, unit++;
    snprintf(buffer, SIZE_TEXT_SIZE, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return str_from(buffer);
}

static bool is_plain(const Json *value) {
    return value->kind != JSON_ARRAY && value->kind != JSON_OBJECT;
}

static bool counts_bytes(Str name) {
    return str_is(name, "size") || str_is(name, "bytes") || str_ends(name, STR("_bytes"));
}

static void add_member(Table *table, Str name, const Json *value) {
    char buffer[SIZE_TEXT_SIZE];
    const Json *kind = value ? json_get(value, "kind") : NULL;
    if (value && value->kind == JSON_INT && counts_bytes(name))
        table_cell(table, size_text(value->integer, buffer), CELL_NUMBER);
    else
        table_cell_json(table, kind ? kind : value); /* {"kind":"email",..} is "email" */
}

static const Json *member(const Json *object, Str name) {
    for (size_t i = 0; object->kind == JSON_OBJECT && i < object->len; i++)
        if (str_equal(object->items[i].name, name)) return &object->items[i];
    return NULL;
}

static bool anyone_has(const Json *list, Str name) {
    for (size_t i = 0; i < list->len; i++)
        if (member(&list->items[i], name)) return true;
    return list->len == 0;
}

static void add_columns(Table *table, const Json *list, const char *columns) {
    Str rest = str_from(columns);
    while (rest.len) {
        Str name = str_until(&rest, ',');
        if (anyone_has(list, name)) table_column(table, name);
    }
    if (columns || list->len == 0 || list->items[0].kind != JSON_OBJECT) return;
    const Json *first = &list->items[0];
    for (size_t i = 0; i < first->len; i++)
        if (is_plain(&first->items[i])) table_column(table, first->items[i].name);
}

void print_list(Arena *arena, const Json *list, const char *columns, FILE *to) {
    Table *table = table_new(arena);
    if (!list || list->kind != JSON_ARRAY) return;
    add_columns(table, list, columns);
    for (size_t i = 0; i < list->len; i++)
        for (size_t c = 0; c < table->columns; c++) {
            Str name = table->titles[c].text;
            add_member(table, name, member(&list->items[i], name));
        }
    table_print(table, to);
}

static bool is_list_of_objects(const Json *value) {
    return value->kind == JSON_ARRAY && value->len > 0 && value->items[0].kind == JSON_OBJECT;
}

static void print_member(Arena *arena, const Json *value, size_t width, FILE *to) {
    Table *table = table_new(arena); /* for its way of writing a value */
    add_member(table, value->name, value);
    OWNED(text_close) Text line = {0};
    text_add(&line, tame(arena, value->name));
    add_spaces(&line, width - value->name.len + GAP);
    text_add(&line, table->cells[0].text);
    print_line(&line, to);
}

static const char *columns_of(const Section *sections, Str name) {
    for (; sections && sections->member; sections++)
        if (str_is(name, sections->member)) return sections->columns;
    return NULL;
}

void print_object(Arena *arena, const Json *object, const Section *sections, FILE *to) {
    size_t width = 0;
    if (!object || object->kind != JSON_OBJECT) return;
    for (size_t i = 0; i < object->len; i++)
        if (!is_list_of_objects(&object->items[i])) width = MAX(width, object->items[i].name.len);
    for (size_t i = 0; i < object->len; i++)
        if (!is_list_of_objects(&object->items[i]))
            print_member(arena, &object->items[i], width, to);
    for (size_t i = 0; i < object->len; i++) {
        const Json *list = &object->items[i];
        if (!is_list_of_objects(list)) continue;
        Str name = tame(arena, list->name);
        fprintf(to, "\n%.*s\n", SHOW(name));
        print_list(arena, list, columns_of(sections, list->name), to);
    }
}
