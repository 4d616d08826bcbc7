// SPDX-License-Identifier: GPL-2.0-or-later
//
// Traps on registers: the page is mapped without any access, the fault handler lets the instruction
// through one step and takes the access away again in the trap behind it. So a write is seen right
// after it happened and a read right before. The model's own mapping of the same file never traps.

#include "card-model.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <ucontext.h>
#include <unistd.h>

#define PAGE 0x1000
#define TRAP_FLAG 0x100
#define FAULT_WRITE 0x2
#define PF "0000:3b:00.0"

static struct {
    CardModel *model;
    guint8 *registers; // the model's own
    guint8 *window;
    guint8 *view; // the driver's latest mapping of the registers
    ino_t inode;  // of the file of the registers
    guint offset; // of the access under way
    gboolean write;
    gboolean busy;                // a command is under way
    guint looks;                  // left until it ends
    guint32 commands, latched[4]; // ended; REGION, VF, LENGTH, FLAGS
    guint32 command;
} card;

static guint32 get(guint offset)
{
    return GUINT32_FROM_LE(*(guint32 *)(card.registers + offset));
}

void card_model_set(CardModel *model, guint offset, guint32 value)
{
    *(guint32 *)(card.registers + offset) = GUINT32_TO_LE(value);
}

static void set(guint offset, guint32 value)
{
    card_model_set(card.model, offset, value);
}

void card_model_show_regions(CardModel *model)
{
    for (guint i = 0; i < model->regions; i++) {
        const CardModelRegion *region = &model->region[i];
        guint row = CARD_PF_REGION_ROW(i);

        set(row + CARD_REGION_KIND, region->kind);
        set(row + CARD_REGION_STATE, region->state);
        set(row + CARD_REGION_ACCELERATOR, region->accelerator);
        set(row + CARD_REGION_VF, region->vf);
        set(row + CARD_REGION_RUNNING, region->running);
    }
}

static CardModelRegion *region_of_vf(CardModel *model, guint32 vf)
{
    for (guint i = 0; i < model->regions; i++)
        if (model->region[i].vf == vf)
            return &model->region[i];
    return NULL;
}

// What the card makes of a command. Returns its status.
static guint32 carry_out(CardModel *model)
{
    guint32 vf = card.latched[1], length = card.latched[2], flags = card.latched[3];
    CardModelRegion *region = &model->region[card.latched[0] % CARD_MAX_REGIONS];

    switch (card.command) {
    case CARD_COMMAND_LOAD:
        if (flags != CARD_FLAG_WINDOW || length > CARD_MODEL_WINDOW)
            return CARD_ERROR_DMA;
        g_byte_array_set_size(region->image, 0);
        g_byte_array_append(region->image, card.window, length);
        region->state = CARD_REGION_READY;
        region->accelerator = card.window[0];
        return CARD_IDLE;
    case CARD_COMMAND_CONNECT:
        if (region->vf != CARD_NONE || region_of_vf(model, vf) != NULL)
            return CARD_ERROR_CONNECTED;
        region->vf = vf;
        if ((flags & CARD_FLAG_KEEP) == 0)
            memset(region->context, 0, CARD_CONTEXT_BYTES);
        return CARD_IDLE;
    case CARD_COMMAND_DISCONNECT:
        region = region_of_vf(model, vf);
        if (region == NULL)
            return CARD_ERROR_DISCONNECTED;
        region->vf = CARD_NONE;
        return CARD_IDLE;
    case CARD_COMMAND_SAVE:
    case CARD_COMMAND_RESTORE:
        if (region->running && model->running_looks-- > 0)
            return CARD_ERROR_RUNNING;
        region->running = FALSE;
        if (flags != CARD_FLAG_WINDOW || length != CARD_CONTEXT_BYTES)
            return CARD_ERROR_LENGTH;
        if (card.command == CARD_COMMAND_SAVE)
            memcpy(card.window, region->context, CARD_CONTEXT_BYTES);
        else
            memcpy(region->context, card.window, CARD_CONTEXT_BYTES);
        return CARD_IDLE;
    default:
        return CARD_ERROR_COMMAND;
    }
}

static void end_command(CardModel *model)
{
    guint32 status = model->fail != 0 ? model->fail : carry_out(model);

    model->fail = 0;
    card.busy = FALSE;
    card.commands++;
    if (model->resets) {
        model->resets = FALSE;
        card.commands = 0;
        status = CARD_IDLE;
    }
    set(CARD_PF_COMMANDS, card.commands);
    set(CARD_PF_STATUS, status);
    card_model_show_regions(model);
}

static void before_read(CardModel *model)
{
    if (model->gone)
        memset(card.registers, 0xff, CARD_PF_BAR_SIZE);
    else if (card.offset == CARD_PF_STATUS && card.busy && !model->stuck && card.looks-- == 0)
        end_command(model);
}

static void after_write(CardModel *model)
{
    static const char *const names[] = {"?",    "load",    "connect", "disconnect",
                                        "save", "restore", "unload"};
    static const guint arguments[] = {CARD_PF_REGION, CARD_PF_VF, CARD_PF_LENGTH, CARD_PF_FLAGS};

    if (card.offset != CARD_PF_COMMAND || model->gone)
        return;
    g_assert_false(card.busy); // the card would drop it
    card.command = get(CARD_PF_COMMAND);
    for (guint i = 0; i < G_N_ELEMENTS(arguments); i++)
        card.latched[i] = get(arguments[i]);
    card.busy = TRUE;
    card.looks = model->busy;
    set(CARD_PF_STATUS, CARD_BUSY);
    g_string_append_printf(model->log, "%s %u %u %u %u\n",
                           names[card.command < G_N_ELEMENTS(names) ? card.command : 0],
                           card.latched[0], card.latched[1], card.latched[2], card.latched[3]);
}

// Files end here, as BARs do there: to touch what was mapped of them is a SIGBUS.
static void unplug(CardModel *model)
{
    static const char *const bars[] = {"resource0", "resource2"};

    for (guint i = 0; i < G_N_ELEMENTS(bars); i++) {
        g_autofree char *path = card_model_path(model, bars[i]);

        g_assert_cmpint(truncate(path, 0), ==, 0);
    }
    mprotect(card.view, PAGE, PROT_READ | PROT_WRITE);
    card.view = NULL;
}

static void on_fault(int number, siginfo_t *info, void *context)
{
    ucontext_t *user = context;
    guint8 *address = info->si_addr;

    if (card.view == NULL || address < card.view || address >= card.view + PAGE) {
        // Not a register: the instruction is tried again and ends the program as it should.
        signal(number, SIG_DFL);
        return;
    }
    if (card.model->unplug > 0 && --card.model->unplug == 0) {
        unplug(card.model);
        return;
    }
    card.offset = (guint)(address - card.view);
    card.write = (user->uc_mcontext.gregs[REG_ERR] & FAULT_WRITE) != 0;
    if (!card.write)
        before_read(card.model);
    mprotect(card.view, PAGE, PROT_READ | PROT_WRITE);
    user->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
}

static void on_trap(int number, siginfo_t *info, void *context)
{
    ucontext_t *user = context;

    user->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
    mprotect(card.view, PAGE, PROT_NONE);
    if (card.write)
        after_write(card.model);
}

void *__real_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset);

// The driver's mmap: of the registers it gets a page that traps.
void *__wrap_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
    void *bytes = __real_mmap(address, length, protection, flags, fd, offset);
    struct stat status;

    if (bytes != MAP_FAILED && fd >= 0 && fstat(fd, &status) == 0 && status.st_ino == card.inode) {
        card.view = bytes;
        mprotect(card.view, PAGE, PROT_NONE);
    }
    return bytes;
}

char *card_model_path(const CardModel *model, const char *name)
{
    return g_strdup_printf("%s/sys/bus/pci/devices/" PF "/%s", model->root, name);
}

static void put_file(const CardModel *model, const char *name, const char *text)
{
    g_autofree char *path = card_model_path(model, name);

    g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static guint8 *make_bar(const CardModel *model, const char *name, gsize size, ino_t *inode)
{
    g_autofree char *path = card_model_path(model, name);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    struct stat status;
    guint8 *bytes;

    g_assert_cmpint(ftruncate(fd, (off_t)size), ==, 0);
    bytes = __real_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    g_assert_true(bytes != MAP_FAILED);
    g_assert_cmpint(fstat(fd, &status), ==, 0);
    close(fd);
    *inode = status.st_ino;
    return bytes;
}

static void catch_signal(int number, void (*handler)(int, siginfo_t *, void *))
{
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};

    sigemptyset(&action.sa_mask);
    g_assert_cmpint(sigaction(number, &action, NULL), ==, 0);
}

static void set_identity(const CardModel *model)
{
    set(CARD_PF_MAGIC, CARD_PF_MAGIC_VALUE);
    set(CARD_PF_VERSION, CARD_VERSION);
    set(CARD_PF_VFS, 4);
    set(CARD_PF_REGIONS, model->regions);
    set(CARD_PF_KINDS, 2);
    set(CARD_PF_CONTEXT_SIZE, CARD_CONTEXT_BYTES);
    set(CARD_PF_WINDOW_SIZE, CARD_MODEL_WINDOW);
}

CardModel *card_model_new(void)
{
    CardModel *model = g_new0(CardModel, 1);
    ino_t other;

    memset(&card, 0, sizeof(card));
    card.model = model;
    model->root = g_dir_make_tmp("virtfn-card-XXXXXX", NULL);
    model->log = g_string_new(NULL);
    model->regions = 2;
    g_autofree char *directory = card_model_path(model, "");
    g_assert_cmpint(g_mkdir_with_parents(directory, 0700), ==, 0);
    put_file(model, "vendor", "0x1234\n");
    put_file(model, "device", "0x5646\n");
    put_file(model, "config", "\x34\x12\x46\x56\x06\x01\x10\x01");
    card.registers = make_bar(model, "resource0", CARD_PF_BAR_SIZE, &card.inode);
    card.window = make_bar(model, "resource2", CARD_MODEL_WINDOW, &other);
    for (guint i = 0; i < CARD_MAX_REGIONS; i++) {
        model->region[i].kind = i % 2;
        model->region[i].vf = CARD_NONE;
        model->region[i].image = g_byte_array_new();
    }
    set_identity(model);
    card_model_show_regions(model);
    catch_signal(SIGSEGV, on_fault);
    catch_signal(SIGTRAP, on_trap);
    return model;
}

guint8 *card_model_window(CardModel *model)
{
    return card.window;
}

void card_model_free(CardModel *model)
{
    static const char *const files[] = {"vendor", "device", "config", "resource0", "resource2", ""};
    static const char *const directories[] = {"sys/bus/pci/devices", "sys/bus/pci", "sys/bus",
                                              "sys", ""};

    munmap(card.registers, CARD_PF_BAR_SIZE);
    munmap(card.window, CARD_MODEL_WINDOW);
    for (guint i = 0; i < G_N_ELEMENTS(files); i++) {
        g_autofree char *path = card_model_path(model, files[i]);

        g_remove(path);
    }
    for (guint i = 0; i < G_N_ELEMENTS(directories); i++) {
        g_autofree char *path = g_build_filename(model->root, directories[i], NULL);

        g_rmdir(path);
    }
    for (guint i = 0; i < CARD_MAX_REGIONS; i++)
        g_byte_array_unref(model->region[i].image);
    g_string_free(model->log, TRUE);
    g_free(model->root);
    g_free(model);
}
