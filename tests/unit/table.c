// SPDX-License-Identifier: GPL-2.0-or-later
//
// Tables for people and for scripts, and text that must not reach a terminal as it came.

#include "table.h"

static const char *const titles[] = {"NAME", "STATE", NULL};

static VfTable *example(void)
{
    VfTable *table = vf_table_new(titles);

    vf_table_add(table, "a-long-name");
    vf_table_add(table, "free");
    vf_table_add(table, "b");
    vf_table_add(table, NULL);
    return table;
}

static void test_terminal(void)
{
    g_autoptr(VfTable) table = example();
    g_autofree char *text = vf_table_format(table, TRUE, "  ");

    g_assert_cmpstr(text, ==,
                    "  NAME         STATE\n"
                    "  a-long-name  free\n"
                    "  b            -\n");
}

static void test_script(void)
{
    g_autoptr(VfTable) table = example();
    g_autofree char *text = vf_table_format(table, FALSE, "");

    g_assert_cmpstr(text, ==, "a-long-name\tfree\nb\t-\n");
}

static void test_width_counts_characters(void)
{
    g_autoptr(VfTable) table = vf_table_new(titles);

    vf_table_add(table, "tür-é");
    vf_table_add(table, "x");
    g_autofree char *text = vf_table_format(table, TRUE, "");
    g_assert_cmpstr(text, ==, "NAME   STATE\ntür-é  x\n");
}

static void test_empty(void)
{
    g_autoptr(VfTable) table = vf_table_new(titles);
    g_autofree char *script = vf_table_format(table, FALSE, "");
    g_autofree char *terminal = vf_table_format(table, TRUE, "");

    g_assert_cmpstr(script, ==, "");
    g_assert_cmpstr(terminal, ==, "NAME  STATE\n");
}

static void test_clean(void)
{
    static const struct {
        const char *text, *clean;
    } cases[] = {
        {"plain", "plain"},
        {"tür", "tür"},
        {"\033[31mred", "?[31mred"},
        {"a\tb\nc\rd\177", "a?b?c?d?"},
        {"\xc2\x9b"
         "31m",
         "?31m"}, // CSI as one C1 character
        {"bad\xff"
         "byte",
         "bad?byte"},
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *clean = vf_text_clean(cases[i].text);
        g_assert_cmpstr(clean, ==, cases[i].clean);
    }
}

static void test_wrap(void)
{
    g_autofree char *words = g_strnfill(70, 'a');
    g_autofree char *text = g_strconcat(words, " bb cccc dddddddd", NULL);
    g_autofree char *wanted = g_strconcat("  x: ", words, " bb\n    cccc dddddddd\n", NULL);
    g_autofree char *wrapped = vf_text_wrap("  x: ", "    ", text);

    g_assert_cmpstr(wrapped, ==, wanted);
}

static void test_wrap_long_word(void)
{
    g_autofree char *word = g_strnfill(200, 'a');
    g_autofree char *text = g_strconcat(word, " b", NULL);
    g_autofree char *wanted = g_strconcat("> ", word, "\n  b\n", NULL);
    g_autofree char *wrapped = vf_text_wrap("> ", "  ", text);

    g_assert_cmpstr(wrapped, ==, wanted);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/table/terminal", test_terminal);
    g_test_add_func("/table/script", test_script);
    g_test_add_func("/table/width-counts-characters", test_width_counts_characters);
    g_test_add_func("/table/empty", test_empty);
    g_test_add_func("/table/clean", test_clean);
    g_test_add_func("/table/wrap", test_wrap);
    g_test_add_func("/table/wrap-long-word", test_wrap_long_word);
    return g_test_run();
}
