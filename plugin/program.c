// SPDX-License-Identifier: GPL-2.0-or-later
//
// Runs external programs. They run as root, so the file and every directory above it must be root's
// alone, and what they inherit is next to nothing. posix_spawn, a pidfd and poll: no signal
// handler, no state that other threads could see. What a program says on standard error goes into
// one line of an error; nothing is logged here.

#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "error.h"

#define STDERR_KEPT 256

typedef struct {
    pid_t pid;
    int pidfd;
    int stderr_fd; // read ends; -1 after their end
    int stdout_fd; // -1 too when nobody wants it
    char text[STDERR_KEPT + 1];
    gsize length;
    GByteArray *output;
    gsize output_max;
    gboolean too_much;
} Child;

static gboolean refuse(GError **error, const char *path, const char *cause)
{
    g_set_error(error, VF_ERROR, VF_ERROR_CONFIG,
                "%s: %s" VF_REMEDY
                "programs must be executable, and they and the directories above them must belong "
                "to root and be writable for root only",
                path, cause);
    return FALSE;
}

// Whoever can write a directory can put another file into the place of a checked one.
static gboolean check_directories(const char *path, uid_t owner, GError **error)
{
    g_autofree char *directory = g_path_get_dirname(path);
    struct stat status;

    for (;;) {
        if (stat(directory, &status) != 0)
            return refuse(error, directory, g_strerror(errno));
        if (status.st_uid != 0 && status.st_uid != owner)
            return refuse(error, directory, "does not belong to root");
        // In a sticky directory nobody else can replace the file.
        if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0 && (status.st_mode & S_ISVTX) == 0)
            return refuse(error, directory, "is writable for others");
        if (g_str_equal(directory, "/"))
            return TRUE;
        char *above = g_path_get_dirname(directory);
        g_free(directory);
        directory = above;
    }
}

char *vf_program_check(const char *path, uid_t owner, GError **error)
{
    char *resolved = path[0] == '/' ? realpath(path, NULL) : NULL;
    struct stat status;
    gboolean ok;

    if (path[0] != '/')
        refuse(error, path, "is not an absolute path");
    else if (resolved == NULL)
        refuse(error, path, g_strerror(errno));
    if (resolved == NULL)
        return NULL;
    g_autofree char *program = g_strdup(resolved);
    free(resolved);
    if (stat(program, &status) != 0)
        ok = refuse(error, program, g_strerror(errno));
    else if (!S_ISREG(status.st_mode) || (status.st_mode & 0111) == 0)
        ok = refuse(error, program, "is not an executable file");
    else if (status.st_uid != owner)
        ok = refuse(error, program, "does not belong to root");
    else if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        ok = refuse(error, program, "is writable for others");
    else
        ok = check_directories(program, owner, error);
    return ok ? g_steal_pointer(&program) : NULL;
}

// A file in memory at its beginning: a program that reads nothing cannot block or kill the writer.
static int open_input(const VfProgram *program)
{
    int fd = memfd_create("virtfn-input", MFD_CLOEXEC);
    gsize length = program->input_length != 0 ? program->input_length : strlen(program->input);
    gsize done = 0;

    while (fd >= 0 && done < length) {
        ssize_t written = write(fd, (const char *)program->input + done, length - done);

        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            break;
        done += (gsize)written;
    }
    if (fd >= 0 && (done != length || lseek(fd, 0, SEEK_SET) != 0)) {
        close(fd);
        return -1;
    }
    return fd;
}

// Returns 0 or an errno. stdout_fd -1: dropped.
static int spawn(const char *file, const char *const *argv, int input, int stdout_fd, int stderr_fd,
                 pid_t *pid)
{
    static const char *const environment[] = {
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8",
        NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;

    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
    if (stdout_fd >= 0)
        posix_spawn_file_actions_adddup2(&actions, stdout_fd, STDOUT_FILENO);
    else
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, stderr_fd, STDERR_FILENO);
    posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
    posix_spawn_file_actions_addchdir_np(&actions, "/");
    int failed = posix_spawn(pid, file, &actions, &attributes, (char *const *)argv,
                             (char *const *)environment);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return failed;
}

// Keeps the beginning of standard error and drops the rest. One chunk a call and never blocking: a
// program that does not stop writing must not keep the caller from looking at the clock.
static void read_stderr(Child *child)
{
    char chunk[4096];
    ssize_t got = read(child->stderr_fd, chunk, sizeof(chunk));

    if (got > 0) {
        gsize kept = MIN((gsize)got, STDERR_KEPT - child->length);

        memcpy(child->text + child->length, chunk, kept);
        child->length += kept;
    } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
        close(child->stderr_fd);
        child->stderr_fd = -1;
    }
}

// The same for standard output, all of which is kept. FALSE when there is no more at the moment.
static gboolean read_stdout(Child *child)
{
    guint8 chunk[16384];
    ssize_t got = read(child->stdout_fd, chunk, sizeof(chunk));

    if (got > 0 && child->output->len + (gsize)got <= child->output_max) {
        g_byte_array_append(child->output, chunk, (guint)got);
        return TRUE;
    }
    if (got > 0)
        child->too_much = TRUE;
    if (got >= 0 || (errno != EAGAIN && errno != EINTR)) {
        // It is told by SIGPIPE when it writes on after too much.
        close(child->stdout_fd);
        child->stdout_fd = -1;
    }
    return FALSE;
}

// TRUE when it ended by itself within the time. It is not reaped yet, so its id is still its own.
static gboolean wait_end(Child *child, guint timeout_ms)
{
    gint64 deadline = g_get_monotonic_time() + (gint64)timeout_ms * 1000;

    for (;;) {
        struct pollfd fds[] = {{child->pidfd, POLLIN, 0},
                               {child->stderr_fd, POLLIN, 0},
                               {child->stdout_fd, POLLIN, 0}};
        gint64 left = deadline - g_get_monotonic_time();

        if (left <= 0)
            return FALSE;
        // Rounded up: poll(0) would spin through the last millisecond.
        if (poll(fds, G_N_ELEMENTS(fds), (int)((left + 999) / 1000)) < 0 && errno != EINTR)
            return FALSE;
        if (fds[1].revents != 0)
            read_stderr(child);
        if (fds[2].revents != 0)
            read_stdout(child);
        if (fds[0].revents != 0) {
            if (child->stderr_fd >= 0)
                read_stderr(child);
            while (child->stdout_fd >= 0 && read_stdout(child))
                ;
            return TRUE;
        }
    }
}

// First line of standard error, printable. Caller frees.
static char *first_line(Child *child)
{
    child->text[child->length] = '\0';
    child->text[strcspn(child->text, "\n")] = '\0';
    char *line = g_utf8_make_valid(child->text, -1);
    for (char *p = line; *p != '\0'; p++)
        if (g_ascii_iscntrl(*p))
            *p = ' ';
    return g_strstrip(line);
}

// Turns how it ended into success or one line.
static gboolean judge(const VfProgram *program, Child *child, gboolean in_time, int status,
                      gboolean *not_mine, GError **error)
{
    g_autofree char *call = g_strjoinv(" ", (char **)program->argv);
    g_autofree char *line = first_line(child);
    g_autofree char *how = NULL;

    *not_mine = in_time && WIFEXITED(status) && WEXITSTATUS(status) == VF_PROGRAM_EXIT_NOT_MINE;
    if (!child->too_much &&
        (*not_mine || (in_time && WIFEXITED(status) && WEXITSTATUS(status) == 0)))
        return TRUE;
    *not_mine = FALSE;
    if (child->too_much)
        how = g_strdup_printf("more than %" G_GSIZE_FORMAT " bytes of output", child->output_max);
    else if (!in_time)
        how = g_strdup_printf("not done after %.1f s, killed", program->timeout_ms / 1000.0);
    else if (WIFEXITED(status))
        how = g_strdup_printf("exit status %d", WEXITSTATUS(status));
    else
        how = g_strdup_printf("killed by signal %d", WTERMSIG(status));
    g_set_error(error, VF_ERROR, VF_ERROR_SYSFS, "%s: %s%s%s", call, how,
                line[0] != '\0' ? ": " : "", line);
    return FALSE;
}

// The child is reaped on every path, and only after its group was killed: until then the number of
// the group cannot be anybody else's.
static gboolean finish(const VfProgram *program, Child *child, gboolean *not_mine, GError **error)
{
    gboolean in_time = FALSE;
    int status = 0;

    child->pidfd = pidfd_open(child->pid, 0);
    int saved_errno = errno;
    if (child->pidfd >= 0) {
        in_time = wait_end(child, program->timeout_ms);
        close(child->pidfd);
    }
    if (!in_time)
        kill(-child->pid, SIGKILL);
    while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (child->pidfd < 0) {
        vf_error_set_errno(error, VF_ERROR_INTERNAL, saved_errno, "%s: pidfd", program->argv[0]);
        return FALSE;
    }
    return judge(program, child, in_time, status, not_mine, error);
}

static void close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
}

// Starts it with pipes for what it says. Returns 0 or an errno; the child's ends are closed.
static int start(const VfProgram *program, const char *file, Child *child)
{
    int errors[2], output[2] = {-1, -1}, input, failed = 0;

    // Our ends do not block; the program's own writes do.
    if (pipe2(errors, O_CLOEXEC) != 0)
        return errno;
    if (program->output != NULL && pipe2(output, O_CLOEXEC) != 0)
        failed = errno;
    input = failed == 0 ? open_input(program) : -1;
    if (failed == 0)
        failed = input < 0 ? errno
                           : spawn(file, program->argv, input, output[1], errors[1], &child->pid);
    close_fd(input);
    close(errors[1]);
    close_fd(output[1]);
    child->stderr_fd = errors[0];
    child->stdout_fd = output[0];
    fcntl(child->stderr_fd, F_SETFL, O_NONBLOCK);
    if (child->stdout_fd >= 0)
        fcntl(child->stdout_fd, F_SETFL, O_NONBLOCK);
    return failed;
}

gboolean vf_program_run(const VfProgram *program, gboolean *not_mine, GError **error)
{
    g_autofree char *file = vf_program_check(program->argv[0], program->owner, error);
    Child child = {.stderr_fd = -1,
                   .stdout_fd = -1,
                   .output = program->output,
                   .output_max = program->output_max};
    gboolean ok = FALSE;
    int failed;

    *not_mine = FALSE;
    if (file == NULL)
        return FALSE;
    failed = start(program, file, &child);
    if (failed == 0)
        ok = finish(program, &child, not_mine, error);
    else
        vf_error_set_errno(error, VF_ERROR_SYSFS, failed, "cannot run %s", file);
    close_fd(child.stderr_fd);
    close_fd(child.stdout_fd);
    return ok;
}

char *vf_program_json(const VfTarget *target, const VfSettings *settings)
{
    char pf[VF_PCIADDR_BUFSIZE], vf[VF_PCIADDR_BUFSIZE];
    json_t *values = json_object();
    json_t *root = json_pack("{s:s, s:s, s:i, s:s, s:s, s:s, s:o}", "pool", target->pool, "pf",
                             vf_pciaddr_format(&target->pf, pf), "index", (int)target->index, "vf",
                             vf_pciaddr_format(&target->vf, vf), "domain", target->domain, "device",
                             target->device, "settings", values);

    for (guint i = 0; vf_settings_keys[i] != NULL; i++) {
        g_autofree char *value = vf_settings_nth(settings, i);

        if (value != NULL && !g_str_equal(vf_settings_keys[i], "program"))
            json_object_set_new(values, vf_settings_keys[i], json_string(value));
    }
    char *text = json_dumps(root, JSON_COMPACT);
    char *copy = g_strdup(text);
    free(text);
    json_decref(root);
    return copy;
}

gboolean vf_program_event(const VfTarget *target, const VfSettings *settings, const char *event,
                          GError **error)
{
    char pf[VF_PCIADDR_BUFSIZE], index[12];
    gboolean not_mine;

    if (settings->program == NULL)
        return TRUE;
    g_snprintf(index, sizeof(index), "%u", target->index);
    g_autofree char *json = vf_program_json(target, settings);
    const char *const argv[] = {settings->program, event, vf_pciaddr_format(&target->pf, pf), index,
                                NULL};
    const VfProgram program = {
        .argv = argv, .input = json, .timeout_ms = VF_PROGRAM_TIMEOUT_MS, .owner = 0};
    return vf_program_run(&program, &not_mine, error);
}

gboolean vf_program_can_flash(const char *program, const char *pool, GError **error)
{
    if (program != NULL)
        return TRUE;
    g_set_error(error, VF_ERROR, VF_ERROR_CONFIG,
                "pool '%s': it has no bitstream-program" VF_REMEDY
                "name the program that flashes this card in the pool's file",
                pool);
    return FALSE;
}

gboolean vf_program_flash(const char *program, const char *pool, const VfPciAddr *pf,
                          const char *bitstream, GError **error)
{
    char address[VF_PCIADDR_BUFSIZE];
    const char *const argv[] = {program, "flash", vf_pciaddr_format(pf, address), bitstream, NULL};
    const VfProgram flash = {
        .argv = argv, .input = "", .timeout_ms = VF_PROGRAM_FLASH_TIMEOUT_MS, .owner = 0};
    gboolean not_mine = FALSE;

    if (vf_program_run(&flash, &not_mine, error) && !not_mine)
        return TRUE;
    if (not_mine)
        g_set_error(error, VF_ERROR, VF_ERROR_CONFIG,
                    "%s: %s says that this card is not its business" VF_REMEDY
                    "name another bitstream-program in the pool",
                    address, program);
    g_prefix_error(error, "pool '%s': ", pool);
    return FALSE;
}
