/* The configuration: a TOML file, then environment variables over it (LAKEHOUSE_GATEWAY_PORT sets
 * `port` of [gateway]; lists and tables are JSON there), read section by section through option
 * tables. Source: toml++ behind config_toml.cc. Thread rule: read-only after config_open. */
#pragma once

#include "base/option.h"

typedef struct Config Config;

bool config_open(const char *path, Config **out, Err *err); /* path NULL: environment alone */
void config_close(Config **config);
/* Fallbacks, then the file's [section], then the environment, into *out; unknown keys refused.
 * Text lives as long as the Config. */
bool config_section(Config *config, const char *section, const Option *options, void *out,
                    Err *err);
/* A whole table such as [secrets], for sections whose keys users choose; NULL when absent. */
const Json *config_table(Config *config, const char *section);
/* After every section was read: refuses sections that nobody asked for. */
bool config_finish(Config *config, Err *err);
