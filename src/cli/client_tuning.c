/* eval, trials, autotune, promote, agent: how well and how fast an index searches, and making it
 * better. */
#include "cli/commands.h"

#define QUERIES_SIZE_MAX (16 << 20)
#define TRIAL_COLUMNS "trial,config,eval,k,recall,p50_us,p99_us,qps,build_ms,memory_bytes,at"
#define CHAMPION_COLUMNS "index,bucket,backend,promotion,trial,config,recall,p50_us,by,at"

static bool show(Cli *cli, Str path, const char *columns, const Section *sections, Err *err) {
    const Json *answer;
    Str raw;
    if (!session_get(cli, path, &answer, &raw, err)) return false;
    if (session_prints(cli, raw)) return true;
    if (answer->kind == JSON_ARRAY)
        print_list(&cli->arena, answer, columns, stdout);
    else
        print_object(&cli->arena, answer, sections, stdout);
    return true;
}

static bool send(Cli *cli, const char *method, Str path, Str body, Err *err) {
    const Json *answer;
    Str raw;
    if (!session_send(cli, method, path, body, &answer, &raw, err)) return false;
    if (!session_prints(cli, raw)) print_object(&cli->arena, answer, NULL, stdout);
    return true;
}

static bool write_number(JsonWriter *w, Str text, Err *err) {
    int64_t value;
    if (!str_to_i64(text, &value))
        return err_set(err, LH_INVALID, "'%.*s' is not a whole number", SHOW(text));
    jw_int(w, value);
    return true;
}

static bool write_numbers(JsonWriter *w, Str list, Err *err) {
    jw_array(w);
    while (list.len)
        if (!write_number(w, str_until(&list, ','), err)) return false;
    jw_end(w);
    return true;
}

/* "ef_search=64 m=16" as an object; of a grid, "ef_search=32,64 m=16", the values are lists. */
static bool write_settings(JsonWriter *w, Str text, bool grid, Err *err) {
    jw_object(w);
    for (text = str_trim(text); text.len; text = str_trim(text)) {
        Str values = str_until(&text, ' '), name = str_until(&values, '=');
        if (!name.len || !values.len)
            return err_set(err, LH_INVALID, "write settings as \"ef_search=%s m=16\"",
                           grid ? "32,64,128" : "64");
        jw_name_str(w, name);
        if (!(grid ? write_numbers : write_number)(w, values, err)) return false;
    }
    jw_end(w);
    return true;
}

/* ---- eval ---- */

static Str eval_path(Cli *cli, const EvalValues *v) {
    Str path = path_of(cli, "/vectors/evals/", v->index, v->name.len ? "/" : "");
    Str name = v->name.len ? path_of(cli, "", v->name, "") : (Str){0};
    return arena_print(&cli->arena, "%.*s%.*s", SHOW(path), SHOW(name));
}

bool cmd_eval(Cli *cli, const void *values, Err *err) {
    static const Section sections[] = {
        {"queries", "text"},
        {0        }
    };
    return show(cli, eval_path(cli, values), "name,bytes,updated_at", sections, err);
}

/* A query a line. */
static bool write_queries(Cli *cli, JsonWriter *w, Str file, Err *err) {
    Bytes data;
    if (!file_read(arena_cstr(&cli->arena, file), QUERIES_SIZE_MAX, &cli->arena, &data, err))
        return false;
    jw_name(w, "queries");
    jw_array(w);
    for (Str rest = str_of(data); rest.len;) {
        Str line = str_trim(str_until(&rest, '\n'));
        if (line.len) jw_text(w, line);
    }
    jw_end(w);
    return true;
}

bool cmd_eval_create(Cli *cli, const void *values, Err *err) {
    const EvalValues *v = values;
    OWNED(text_close) Text body = {0};
    JsonWriter w = {.out = &body};
    jw_object(&w);
    if (v->queries.len) {
        if (!write_queries(cli, &w, v->queries, err)) return false;
    } else {
        jw_member_int(&w, "sample", v->sample);
        jw_member_int(&w, "seed", v->seed);
    }
    jw_end(&w);
    return send(cli, "PUT", eval_path(cli, v), text_str(&body), err);
}

bool cmd_eval_drop(Cli *cli, const void *values, Err *err) {
    return send(cli, "DELETE", eval_path(cli, values), (Str){0}, err);
}

/* ---- trials, autotune ---- */

bool cmd_trials(Cli *cli, const void *values, Err *err) {
    Str index = ((const TuningValues *)values)->index;
    return show(cli, path_of(cli, "/vectors/trials/", index, ""), TRIAL_COLUMNS, NULL, err);
}

bool cmd_trials_run(Cli *cli, const void *values, Err *err) {
    const TuningValues *v = values;
    OWNED(text_close) Text body = {0};
    JsonWriter w = {.out = &body};
    jw_object(&w);
    jw_name(&w, "config");
    if (!write_settings(&w, v->settings, false, err)) return false;
    jw_member_text(&w, "eval", v->eval);
    jw_member_int(&w, "k", v->k);
    jw_end(&w);
    return send(cli, "POST", path_of(cli, "/vectors/trials/", v->index, ""), text_str(&body), err);
}

bool cmd_autotune(Cli *cli, const void *values, Err *err) {
    static const Section sections[] = {
        {"trials", TRIAL_COLUMNS},
        {0       }
    };
    const TuningValues *v = values;
    OWNED(text_close) Text body = {0};
    JsonWriter w = {.out = &body};
    jw_object(&w);
    jw_name(&w, "grid");
    if (!write_settings(&w, v->settings, true, err)) return false;
    jw_member_text(&w, "eval", v->eval);
    jw_member_int(&w, "k", v->k);
    jw_member_real(&w, "min_recall", v->min_recall);
    jw_member_flag(&w, "promote", v->promote);
    jw_end(&w);
    return run_job(cli, "POST", path_of(cli, "/vectors/autotune/", v->index, ""), text_str(&body),
                   v->detach ? NULL : sections, err);
}

/* ---- promote ---- */

bool cmd_promote(Cli *cli, const void *values, Err *err) {
    static const Section sections[] = {
        {"history", CHAMPION_COLUMNS},
        {0        }
    };
    const PromoteValues *v = values;
    if (!v->trial)
        return show(cli,
                    v->index.len ? path_of(cli, "/vectors/promotions/", v->index, "")
                                 : STR("/vectors/promotions"),
                    CHAMPION_COLUMNS, sections, err);
    Str body = arena_print(&cli->arena, "{\"trial\":%lld}", (long long)v->trial);
    return send(cli, "POST", path_of(cli, "/vectors/promotions/", v->index, ""), body, err);
}

bool cmd_promote_rollback(Cli *cli, const void *values, Err *err) {
    Str index = ((const PromoteValues *)values)->index;
    return send(cli, "POST", path_of(cli, "/vectors/promotions/", index, "/rollback"), (Str){0},
                err);
}

/* ---- agent ---- */

bool cmd_agent(Cli *cli, const void *values, Err *err) {
    static const Section sections[] = {
        {"decisions", "index,trial,config,recall,p50_us,promoted,why,at"},
        {0          }
    };
    (void)values;
    return show(cli, STR("/vectors/agent/status"), NULL, sections, err);
}

bool cmd_agent_enqueue(Cli *cli, const void *values, Err *err) {
    Str index = ((const NameValues *)values)->name;
    return send(cli, "POST", path_of(cli, "/vectors/agent/enqueue/", index, ""), (Str){0}, err);
}

bool cmd_agent_pause(Cli *cli, const void *values, Err *err) {
    (void)values;
    return send(cli, "POST", STR("/vectors/agent/pause"), (Str){0}, err);
}

bool cmd_agent_resume(Cli *cli, const void *values, Err *err) {
    (void)values;
    return send(cli, "POST", STR("/vectors/agent/resume"), (Str){0}, err);
}
