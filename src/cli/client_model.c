/* profile ..., vram: model profiles, the GPU slot, and what stands in the GPU's memory. */
#include "cli/commands.h"

bool cmd_profile(Cli *cli, const void *values, Err *err) {
    Str id = ((const NameValues *)values)->name, raw;
    const Json *answer;
    Str path = id.len ? path_of(cli, "/vectors/profile/", id, "") : STR("/vectors/profile");
    if (!session_get(cli, path, &answer, &raw, err)) return false;
    if (session_prints(cli, raw)) return true;
    if (id.len)
        print_object(&cli->arena, answer, NULL, stdout);
    else
        print_list(&cli->arena, answer,
                   "id,active,ollama_name,embed_model,bucket,vector_backend,description", stdout);
    return true;
}

bool cmd_profile_active(Cli *cli, const void *values, Err *err) {
    const Json *answer;
    Str raw;
    (void)values;
    if (!session_get(cli, STR("/vectors/profile/active"), &answer, &raw, err)) return false;
    if (!session_prints(cli, raw)) print_object(&cli->arena, answer, NULL, stdout);
    return true;
}

static bool change(Cli *cli, Str id, const char *what, Err *err) {
    const Json *answer;
    Str raw;
    if (!session_send(cli, "POST", path_of(cli, "/vectors/profile/", id, what), (Str){0}, &answer,
                      &raw, err))
        return false;
    if (!session_prints(cli, raw)) print_object(&cli->arena, answer, NULL, stdout);
    return true;
}

bool cmd_profile_activate(Cli *cli, const void *values, Err *err) {
    return change(cli, ((const NameValues *)values)->name, "/activate", err);
}

bool cmd_profile_deactivate(Cli *cli, const void *values, Err *err) {
    return change(cli, ((const NameValues *)values)->name, "/deactivate", err);
}

bool cmd_vram(Cli *cli, const void *values, Err *err) {
    static const Section sections[] = {
        {"gpus",                                   "index,name,total_bytes,used_bytes,free_bytes"},
        {"models",                                        "name,size_bytes,vram_bytes,expires_at"},
        {0}
    };
    const Json *answer;
    Str raw;
    (void)values;
    if (!session_get(cli, STR("/admin/vram"), &answer, &raw, err)) return false;
    if (session_prints(cli, raw)) return true;
    const Json *source = json_get(answer, "source");
    Str gpu = json_get_text(source, "gpu", STR("none"));
    Str models = json_get_text(source, "models", STR("none"));
    printf("gpus read by %.*s, models by %.*s\n", SHOW(gpu), SHOW(models));
    print_object(&cli->arena, answer, sections, stdout);
    return true;
}
