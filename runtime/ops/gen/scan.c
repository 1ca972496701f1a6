/* SPDX-License-Identifier: Apache-2.0 */
/* Finds op declarations in C sources. Knows as much of C as that takes: tokens, strings, nesting. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "gen.h"

typedef enum token_kind { TOKEN_END, TOKEN_NAME, TOKEN_STRING, TOKEN_OTHER } token_kind;

typedef struct scanner {
    const char *file, *at;
    int line;
    bool line_start; /* nothing but space since the last newline: '#' begins a directive */
    /* the present token */
    token_kind kind;
    int token_line;
    const char *text; /* of a name or a string, decoded */
    char other;
} scanner;

static void advance(scanner *s) {
    s->line_start = *s->at == '\n' || (s->line_start && isspace((unsigned char)*s->at));
    s->line += *s->at == '\n';
    s->at++;
}

/* To the end of a directive, across lines that end in a backslash. */
static void skip_directive(scanner *s) {
    while (*s->at != '\0' && *s->at != '\n') {
        if (s->at[0] == '\\' && s->at[1] == '\n')
            advance(s);
        advance(s);
    }
}

static void skip_space(scanner *s) {
    for (;;) {
        if (s->line_start && *s->at == '#') {
            skip_directive(s);
        } else if (isspace((unsigned char)*s->at)) {
            advance(s);
        } else if (s->at[0] == '/' && s->at[1] == '/') {
            while (*s->at != '\0' && *s->at != '\n')
                advance(s);
        } else if (s->at[0] == '/' && s->at[1] == '*') {
            advance(s);
            advance(s);
            while (*s->at != '\0' && !(s->at[0] == '*' && s->at[1] == '/'))
                advance(s);
            if (*s->at != '\0') {
                advance(s);
                advance(s);
            }
        } else {
            return;
        }
    }
}

static void read_quoted(scanner *s, char quote) {
    char *out = gen_keep(strcspn(s->at + 1, "\n") + 1);
    size_t length = 0;
    advance(s);
    while (*s->at != '\0' && *s->at != '\n' && *s->at != quote) {
        char c = *s->at;
        if (c == '\\' && s->at[1] != '\0') {
            advance(s);
            c = *s->at == 'n' ? '\n' : *s->at == 't' ? '\t' : *s->at;
        }
        out[length++] = c;
        advance(s);
    }
    if (*s->at == quote)
        advance(s);
    else
        gen_error(s->file, s->token_line, "this string does not end on its line");
    s->kind = quote == '"' ? TOKEN_STRING : TOKEN_OTHER;
    s->other = '\'';
    s->text = out;
}

static void next(scanner *s) {
    skip_space(s);
    s->token_line = s->line;
    s->text = "";
    s->other = *s->at;
    if (*s->at == '\0') {
        s->kind = TOKEN_END;
    } else if (isalpha((unsigned char)*s->at) || *s->at == '_') {
        const char *start = s->at;
        while (isalnum((unsigned char)*s->at) || *s->at == '_')
            advance(s);
        s->kind = TOKEN_NAME;
        s->text = gen_keep_text(start, (size_t)(s->at - start));
    } else if (*s->at == '"' || *s->at == '\'') {
        read_quoted(s, *s->at);
    } else {
        s->kind = TOKEN_OTHER;
        advance(s);
    }
}

static bool is_name(const scanner *s, const char *text) {
    return s->kind == TOKEN_NAME && strcmp(s->text, text) == 0;
}
static bool is_other(const scanner *s, char c) {
    return s->kind == TOKEN_OTHER && s->other == c;
}

/* The strings that stand here side by side, as one. */
static const char *read_strings(scanner *s, const char *op, const char *field) {
    if (s->kind != TOKEN_STRING)
        gen_error(s->file, s->token_line, "%s: .%s must be written out as string literals here", op, field);
    char *text = gen_keep(1);
    while (s->kind == TOKEN_STRING) {
        size_t a = strlen(text), b = strlen(s->text);
        char *both = gen_keep(a + b + 1);
        snprintf(both, a + b + 1, "%s%s", text, s->text);
        text = both;
        next(s);
    }
    return text;
}

static const struct {
    const char *name;
    uint32_t bit;
} flag_names[] = {{"RL_OP_POINTWISE", RL_OP_POINTWISE},
                  {"RL_OP_ROWS", RL_OP_ROWS},
                  {"RL_OP_VIEW", RL_OP_VIEW},
                  {"RL_OP_COMPOSITE", RL_OP_COMPOSITE},
                  {"RL_OP_INPLACE", RL_OP_INPLACE},
                  {"RL_OP_INPLACE_ONLY", RL_OP_INPLACE_ONLY},
                  {"RL_OP_FLOAT_RESULT", RL_OP_FLOAT_RESULT},
                  {"RL_OP_BOOL_RESULT", RL_OP_BOOL_RESULT},
                  {"RL_OP_NO_GRAD", RL_OP_NO_GRAD},
                  {"RL_OP_RANDOM", RL_OP_RANDOM},
                  {"RL_OP_HOST", RL_OP_HOST},
                  {"RL_OP_LAYOUT", RL_OP_LAYOUT},
                  {"RL_OP_AUTOCAST_LOW", RL_OP_AUTOCAST_LOW},
                  {"RL_OP_AUTOCAST_F32", RL_OP_AUTOCAST_F32},
                  {"RL_OP_AUTOCAST_WIDEST", RL_OP_AUTOCAST_WIDEST}};

static uint32_t read_flags(scanner *s, const char *op) {
    uint32_t flags = 0;
    for (;;) {
        size_t i = 0, n = sizeof flag_names / sizeof *flag_names;
        while (i < n && !is_name(s, flag_names[i].name))
            i++;
        if (i == n) {
            gen_error(s->file, s->token_line, "%s: .flags must be RL_OP_... joined by |", op);
            return flags;
        }
        flags |= flag_names[i].bit;
        next(s);
        if (!is_other(s, '|'))
            return flags;
        next(s);
    }
}

/* After the opening brace; leaves the scanner at the closing one. */
static void read_fields(scanner *s, gen_op *op) {
    for (int depth = 1; s->kind != TOKEN_END;) {
        if (is_other(s, '{') || is_other(s, '(') || is_other(s, '['))
            depth++;
        if (is_other(s, '}') || is_other(s, ')') || is_other(s, ']'))
            if (--depth == 0)
                return;
        bool field = depth == 1 && is_other(s, '.');
        next(s);
        if (!field || s->kind != TOKEN_NAME)
            continue;
        const char *name = s->text;
        int line = s->token_line;
        next(s);
        if (!is_other(s, '='))
            continue;
        next(s);
        if (strcmp(name, "schema") == 0) {
            op->schema_line = line;
            op->schema_text = read_strings(s, op->name, name);
        } else if (strcmp(name, "doc") == 0) {
            op->doc = read_strings(s, op->name, name);
        } else if (strcmp(name, "note") == 0) {
            op->note = read_strings(s, op->name, name);
        } else if (strcmp(name, "flags") == 0) {
            op->flags = read_flags(s, op->name);
            op->has_flags = true;
        } else if (strcmp(name, "samples") == 0) {
            op->has_samples = true;
        }
    }
    gen_error(op->file, op->line, "%s: the declaration does not end", op->name);
}

static gen_op *add_op(gen_ops *ops) {
    if (ops->count == ops->room) {
        int room = ops->room ? 2 * ops->room : 64;
        gen_op *data = gen_keep((size_t)room * sizeof *data);
        if (ops->count)
            memcpy(data, ops->data, (size_t)ops->count * sizeof *data);
        ops->data = data;
        ops->room = room;
    }
    return &ops->data[ops->count++];
}

void gen_scan(const char *file, const char *source, gen_ops *ops) {
    static const char prefix[] = "rl_op_def_";
    scanner s = {.file = file, .at = source, .line = 1, .line_start = true};
    next(&s);
    while (s.kind != TOKEN_END) {
        bool is_const = is_name(&s, "const");
        next(&s);
        if (!is_const || !is_name(&s, "rl_op_def"))
            continue;
        next(&s);
        if (s.kind != TOKEN_NAME || strncmp(s.text, prefix, sizeof prefix - 1) != 0)
            continue;
        const char *name = s.text + sizeof prefix - 1;
        int line = s.token_line;
        next(&s);
        if (!is_other(&s, '='))
            continue;
        next(&s);
        if (!is_other(&s, '{'))
            continue;
        next(&s);
        gen_op *op = add_op(ops);
        *op = (gen_op){.name = name, .file = file, .line = line, .schema_line = line};
        read_fields(&s, op);
    }
}
