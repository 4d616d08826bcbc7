# SPDX-License-Identifier: GPL-2.0-or-later
#
# The command virtfn. What its doctor checks is in the library, where unit tests reach it.

VIRTFN_SOURCES := \
	helpers/ask.c \
	helpers/cmd-attach.c \
	helpers/cmd-doctor.c \
	helpers/cmd-events.c \
	helpers/cmd-image.c \
	helpers/cmd-init.c \
	helpers/cmd-list.c \
	helpers/cmd-pause.c \
	helpers/cmd-reconf.c \
	helpers/cmd-render.c \
	helpers/cmd-settle.c \
	helpers/cmd-show.c \
	helpers/cmd-status.c \
	helpers/columns.c \
	helpers/say.c \
	helpers/status-cards.c \
	helpers/stream.c \
	helpers/virtfn.c

$(B)/virtfn: $(VIRTFN_SOURCES:%.c=$(O)/%.o) $(LIB)
	$(say) LD $@
	$(Q)$(CC) $(LDHARDENING) $^ $(PKG_LIBS) -o $@

# Writes sriov_numvfs, in a process of its own.
$(B)/virtfn-numvfs: $(O)/helpers/numvfs.o
	$(say) CC $@
	$(Q)$(CC) $(LDHARDENING) $^ -o $@
