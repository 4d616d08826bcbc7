# SPDX-License-Identifier: GPL-2.0-or-later
#
# make            build everything into build/
# make check      all tests: unit, bats, fuzz smoke, the emulated host
# make qemu-deb   Debian packages of QEMU with the pause extension, in DEB_DIR; hours
# make demo       from nothing to a guest that pings through its VF, on the emulated host
#
# Sources are listed by hand; one object tree per flavour (plain, SANITIZE=1, COVERAGE=1), so that
# flavours never mix.

PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
UNITDIR ?= /lib/systemd/system
LIBEXECDIR ?= $(PREFIX)/libexec/virtfn
DATADIR ?= $(PREFIX)/share
MANDIR ?= $(DATADIR)/man

VERSION := 0.1.0
# make V=1 shows whole commands.
Q := $(if $(V),,@)
say := @$(if $(V),true,echo ' ')
FLAVOUR := $(if $(SANITIZE),-sanitize)$(if $(COVERAGE),-coverage)
.DEFAULT_GOAL := all
B := build$(FLAVOUR:-%=/%)
O := $(B)/obj

PACKAGES := glib-2.0 gio-unix-2.0 libvirt libvirt-qemu libvirt-glib-1.0 libxml-2.0 \
	pciaccess sqlite3 libmicrohttpd jansson libcurl libnl-3.0 libsystemd

CC ?= gcc
CFLAGS ?= -O2 -g
WARNINGS := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wpointer-arith -Wformat=2 -Wvla -Wno-unused-parameter
HARDENING := -fstack-protector-strong -fstack-clash-protection -fcf-protection -fPIE
LDHARDENING := -pie -Wl,-z,relro,-z,now -Wl,--as-needed
ifdef SANITIZE
HARDENING += -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
LDHARDENING += -fsanitize=address,undefined
else ifdef COVERAGE
HARDENING += --coverage -O0
LDHARDENING += --coverage
else
HARDENING += -D_FORTIFY_SOURCE=2
endif
# Looked up only when something is compiled, so that `make install-deps` works on a bare machine.
PKG_CFLAGS = $(eval PKG_CFLAGS := $(shell pkg-config --cflags $(PACKAGES)))$(PKG_CFLAGS)
PKG_LIBS = $(eval PKG_LIBS := $(shell pkg-config --libs $(PACKAGES)))$(PKG_LIBS)
CPPFLAGS_ALL = -std=gnu11 -D_GNU_SOURCE -DG_LOG_DOMAIN='"virtfn"' -DVF_VERSION='"$(VERSION)"' \
	-DVF_SYSCONFDIR='"$(SYSCONFDIR)"' -DVF_LIBEXECDIR='"$(LIBEXECDIR)"' \
	-Ihelpers/lib -Iplugin -Itests/host/card/src/include $(PKG_CFLAGS)

LIB_SOURCES := \
	helpers/doctor-host.c \
	helpers/doctor-libvirt.c \
	helpers/doctor-owners.c \
	helpers/doctor-pf.c \
	helpers/doctor-text.c \
	helpers/doctor.c \
	helpers/lib/client.c \
	helpers/lib/error.c \
	helpers/lib/io.c \
	helpers/lib/log.c \
	helpers/lib/pciaddr.c \
	helpers/lib/quote.c \
	helpers/lib/table.c \
	plugin/accel-choose.c \
	plugin/accel-queue.c \
	plugin/accel-records.c \
	plugin/accel-table.c \
	plugin/accel.c \
	plugin/adopt.c \
	plugin/allocator.c \
	plugin/attach.c \
	plugin/attachment.c \
	plugin/broker.c \
	plugin/broker-api.c \
	plugin/broker-ask.c \
	plugin/broker-carry.c \
	plugin/broker-change.c \
	plugin/broker-hot.c \
	plugin/broker-images.c \
	plugin/broker-post.c \
	plugin/broker-rows.c \
	plugin/broker-settle.c \
	plugin/broker-slices.c \
	plugin/broker-table.c \
	plugin/broker-view.c \
	plugin/broker-watch.c \
	plugin/broker-work.c \
	plugin/card-dfl.c \
	plugin/card-program.c \
	plugin/card-test-io.c \
	plugin/card-test.c \
	plugin/card.c \
	plugin/choices.c \
	plugin/config-accel-keys.c \
	plugin/config-accel.c \
	plugin/config-dir.c \
	plugin/config-pool.c \
	plugin/config-refuse.c \
	plugin/config-scan.c \
	plugin/config.c \
	plugin/daemon-leases.c \
	plugin/daemon.c \
	plugin/domains.c \
	plugin/domdevice.c \
	plugin/domtree.c \
	plugin/domxml.c \
	plugin/door.c \
	plugin/doubts.c \
	plugin/events.c \
	plugin/fence.c \
	plugin/image-add.c \
	plugin/images-stage.c \
	plugin/images.c \
	plugin/images-read.c \
	plugin/init.c \
	plugin/inventory.c \
	plugin/jsonplain.c \
	plugin/jsontext.c \
	plugin/lanes.c \
	plugin/ledger.c \
	plugin/ledger-attachments.c \
	plugin/ledger-outages.c \
	plugin/netmsg.c \
	plugin/nodedev.c \
	plugin/numvfs.c \
	plugin/nvme.c \
	plugin/pause-api.c \
	plugin/pause-query.c \
	plugin/pause.c \
	plugin/pci.c \
	plugin/placing.c \
	plugin/prepare.c \
	plugin/profile-net.c \
	plugin/profile-nvme.c \
	plugin/profile-qdma.c \
	plugin/profile.c \
	plugin/program.c \
	plugin/provision.c \
	plugin/qmp-libvirt.c \
	plugin/qmp-socket.c \
	plugin/qmp-wire.c \
	plugin/qmp.c \
	plugin/reconf.c \
	plugin/reconf-api.c \
	plugin/reconf-card.c \
	plugin/reconf-check.c \
	plugin/reconf-events.c \
	plugin/reconf-guests.c \
	plugin/reconf-jobs.c \
	plugin/reconf-journal.c \
	plugin/replug.c \
	plugin/release.c \
	plugin/render.c \
	plugin/resync.c \
	plugin/routes-accelerators.c \
	plugin/routes-hooks.c \
	plugin/routes-images.c \
	plugin/routes-leases.c \
	plugin/routes.c \
	plugin/selector.c \
	plugin/server.c \
	plugin/settings.c \
	plugin/settle.c \
	plugin/slices.c \
	plugin/splice.c \
	plugin/sriov.c \
	plugin/view.c \
	plugin/virconn.c \
	plugin/wishes.c \
	plugin/watch.c \
	plugin/work.c \
	plugin/xmltext.c

# What hook, daemon, helpers and tests are made of; each line may name its own sources only.
LIB := $(O)/libvirtfn.a
LIB_OBJECTS := $(LIB_SOURCES:%.c=$(O)/%.o) $(O)/openapi.o $(O)/templates.o

PROGRAMS := \
	$(B)/50-virtfn \
	$(B)/virtfn \
	$(B)/virtfnd \
	$(B)/virtfn-numvfs

include tests/tests.mk

all: $(PROGRAMS)

$(O)/%.o: %.c
	@mkdir -p $(@D)
	$(say) CC $<
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS) $(WARNINGS) $(HARDENING) -MMD -MP -c $< -o $@

$(LIB): $(LIB_OBJECTS)
	$(say) AR $@
	$(Q)rm -f $@ && ar rcs $@ $^

include helpers/helpers.mk
include hooks/hooks.mk
include man/man.mk
include plugin/install.mk
include plugin/plugin.mk
include tests/bench/bench.mk
include tests/check.mk
include tests/fuzz/fuzz.mk
include tests/lib/fake.mk
include xml-templates/templates.mk

-include $(shell find $(O) -name '*.d' 2>/dev/null)

clean:
	rm -rf build

.PHONY: all clean
.DELETE_ON_ERROR:
.SECONDARY:
