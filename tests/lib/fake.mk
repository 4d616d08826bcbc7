# SPDX-License-Identifier: GPL-2.0-or-later
#
# The fake kernel. One library for all flavours of what runs under it: a sanitizer inside a
# preloaded library would have to be loaded before the program's own.

FAKE_SOURCES := \
	tests/lib/fakecalls.c \
	tests/lib/fakefs.c \
	tests/lib/fakekernel.c \
	tests/lib/fakepci.c \
	tests/lib/fakepoint.c \
	tests/lib/fakescript.c \
	tests/lib/fakevfio.c

# It defines open() itself, which fortified headers would have defined already.
$(B)/tests/fakekernel.so: $(FAKE_SOURCES) tests/lib/fakekernel.h
	@mkdir -p $(@D)
	$(say) CC $@
	$(Q)$(CC) -std=gnu11 -D_GNU_SOURCE $(CFLAGS) $(WARNINGS) -U_FORTIFY_SOURCE -fPIC -shared \
		$(FAKE_SOURCES) -o $@

# Programs whose main() calls fake_kernel_start() (tests/lib/fake.h).
FAKE_UNIT_NAMES := \
	fakekernel \
	fence \
	inventory \
	lifecycle \
	numvfs \
	qdma \
	reconf \
	reconf-crash \
	reconf-growth \
	reconf-histories \
	sriov

$(FAKE_UNIT_NAMES:%=$(B)/tests/%): $(O)/tests/lib/fake.o | $(B)/tests/fakekernel.so \
	$(B)/virtfn-numvfs
