# SPDX-License-Identifier: GPL-2.0-or-later
#
# Unit tests: tests/unit/NAME.c becomes $(B)/tests/NAME, a g_test program linked with the library
# and the fake kernel. `make check-unit` runs them all, `make $(B)/tests/NAME` builds one.

UNIT_NAMES := \
	accel \
	accel-histories \
	allocator \
	card-dfl \
	card-program \
	card-test \
	client \
	config \
	doctor \
	domxml \
	door \
	examples \
	fakekernel \
	fence \
	images \
	inventory \
	jsonplain \
	jsontext \
	lanes \
	ledger \
	lifecycle \
	netmsg \
	numvfs \
	nvme \
	pause \
	pci \
	pciaddr \
	profile \
	program \
	qdma \
	qmp \
	qmp-libvirt \
	reconf \
	reconf-crash \
	reconf-growth \
	reconf-histories \
	render \
	server \
	settings \
	slices \
	sriov \
	table

# What bats files and benchmarks run besides $(PROGRAMS).
BATS_PROGRAMS := \
	$(B)/tests/50-virtfn-quick \
	$(B)/tests/fakekernel.so \
	$(B)/tests/fakelibvirt.so \
	$(B)/tests/peer \
	$(B)/tests/qemu

BENCH_PROGRAMS := \
	$(B)/bench/attach \
	$(B)/bench/decide \
	$(B)/bench/decide-region \
	$(B)/bench/leases \
	$(B)/bench/prepare \
	$(B)/bench/spawn

UNIT_TESTS := $(UNIT_NAMES:%=$(B)/tests/%)

$(B)/tests/%: $(O)/tests/unit/%.o $(LIB)
	@mkdir -p $(@D)
	$(say) CC $@
	$(Q)$(CC) $(LDHARDENING) $^ $(LIB) $(PKG_LIBS) -o $@

# A QEMU to talk to.
$(B)/tests/pause $(B)/tests/qmp $(B)/tests/qmp-libvirt $(B)/tests/reconf \
	$(B)/tests/reconf-crash $(B)/tests/reconf-growth $(B)/tests/reconf-histories: \
	$(O)/tests/lib/qmp-model.o $(O)/tests/lib/qmp-peer.o

# A card whose ioctls end in the test.
$(B)/tests/card-dfl: LDHARDENING += -Wl,--wrap=ioctl

# A card whose registers trap.
$(B)/tests/card-test: $(O)/tests/lib/card-model.o
$(B)/tests/card-test: LDHARDENING += -Wl,--wrap=mmap

# Who has functions while a card is reconfigured.
$(B)/tests/reconf $(B)/tests/reconf-crash: $(O)/tests/lib/owners.o

# A directory of the test's own.
$(B)/tests/card-dfl $(B)/tests/card-program $(B)/tests/config $(B)/tests/images \
	$(B)/tests/profile $(B)/tests/program: $(O)/tests/lib/scratch.o

# Guests in a process of their own.
$(B)/tests/reconf-crash $(B)/tests/reconf-growth $(B)/tests/reconf-histories: $(O)/tests/lib/crew.o
$(B)/tests/reconf-growth $(B)/tests/reconf-histories: $(O)/tests/lib/forked.o

$(B)/tests/qemu: $(O)/tests/lib/qemu.o $(O)/tests/lib/qmp-model.o $(O)/tests/lib/qmp-peer.o $(LIB)
	@mkdir -p $(@D)
	$(say) CC $@
	$(Q)$(CC) $(LDHARDENING) $^ $(PKG_LIBS) -o $@

# Hot-plug for libvirt's test driver.
$(B)/tests/fakelibvirt.so: tests/lib/fakelibvirt.c
	@mkdir -p $(@D)
	$(say) CC $@
	$(Q)$(CC) -std=gnu11 -D_GNU_SOURCE $(CFLAGS) $(WARNINGS) -fPIC -shared $< -o $@

# Prepared answers of an HTTP peer, for the tests of the command.
$(B)/tests/peer: tests/lib/peer.c
	@mkdir -p $(@D)
	$(say) CC $@
	$(Q)$(CC) -std=gnu11 -D_GNU_SOURCE $(CFLAGS) $(WARNINGS) $(HARDENING) $< $(LDHARDENING) -o $@

# BATS=tests/bats/cli.bats runs one file.
BATS ?= $(sort $(wildcard tests/bats/*.bats))
