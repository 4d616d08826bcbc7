# SPDX-License-Identifier: GPL-2.0-or-later
#
# make install, uninstall: DESTDIR and PREFIX as usual. What libvirt, systemd and AppArmor look for
# goes where they look, whatever PREFIX is. Configuration is never overwritten nor removed.
# make qemu-deb: Debian packages of QEMU with the pause extension.

SBINDIR := $(PREFIX)/sbin
HOOKDIR := $(SYSCONFDIR)/libvirt/hooks/qemu.d
APPARMORDIR := $(SYSCONFDIR)/apparmor.d/abstractions/libvirt-qemu.d
# Drop-ins of whichever libvirt daemon runs guests: the one, or the modular one.
LIBVIRT_DROPINS := $(UNITDIR)/libvirtd.service.d/50-virtfn.conf $(UNITDIR)/virtqemud.service.d/50-virtfn.conf
COMPLETIONDIR := $(DATADIR)/bash-completion/completions
DOCDIR := $(DATADIR)/doc/virtfn

$(B)/virtfnd.service $(B)/virtfnd.socket $(B)/libvirt.conf: $(B)/%: plugin/systemd/%.in
	@mkdir -p $(@D)
	$(Q)sed 's|@SBINDIR@|$(SBINDIR)|g' $< > $@

INSTALLED = \
	$(SBINDIR)/virtfnd $(SBINDIR)/virtfn $(LIBEXECDIR)/virtfn-numvfs $(HOOKDIR)/50-virtfn \
	$(UNITDIR)/virtfnd.service $(UNITDIR)/virtfnd.socket $(LIBVIRT_DROPINS) $(APPARMORDIR)/virtfn \
	$(COMPLETIONDIR)/virtfn \
	$(foreach page,$(MAN_PAGES),$(MANDIR)/man$(subst .,,$(suffix $(page)))/$(page))

install: all man $(B)/virtfnd.service $(B)/virtfnd.socket $(B)/libvirt.conf
	install -D -m 755 $(B)/virtfnd $(DESTDIR)$(SBINDIR)/virtfnd
	install -D -m 755 $(B)/virtfn $(DESTDIR)$(SBINDIR)/virtfn
	install -D -m 755 $(B)/virtfn-numvfs $(DESTDIR)$(LIBEXECDIR)/virtfn-numvfs
	install -D -m 755 $(B)/50-virtfn $(DESTDIR)$(HOOKDIR)/50-virtfn
	install -D -m 644 $(B)/virtfnd.service $(DESTDIR)$(UNITDIR)/virtfnd.service
	install -D -m 644 $(B)/virtfnd.socket $(DESTDIR)$(UNITDIR)/virtfnd.socket
	for file in $(LIBVIRT_DROPINS); do install -D -m 644 $(B)/libvirt.conf $(DESTDIR)$$file; done
	install -D -m 644 plugin/systemd/apparmor-libvirt-qemu $(DESTDIR)$(APPARMORDIR)/virtfn
	install -D -m 644 helpers/virtfn.bash-completion $(DESTDIR)$(COMPLETIONDIR)/virtfn
	install -d -m 755 $(DESTDIR)$(SYSCONFDIR)/virtfn $(DESTDIR)$(DOCDIR)/examples
	install -m 644 xml-templates/examples/* $(DESTDIR)$(DOCDIR)/examples
	for page in $(MAN_PAGES); do \
	    install -D -m 644 $(B)/man/$$page $(DESTDIR)$(MANDIR)/man$${page##*.}/$$page; done

uninstall:
	rm -f $(INSTALLED:%=$(DESTDIR)%)
	rm -rf $(DESTDIR)$(DOCDIR)
	-rmdir $(DESTDIR)$(LIBEXECDIR) $(DESTDIR)$(SYSCONFDIR)/virtfn 2>/dev/null

# DEB_OPTIONS: those of plugin/qemu/deb, such as --x86 or --source.
DEB_DIR ?= build/qemu-deb
qemu-deb:
	plugin/qemu/deb $(DEB_OPTIONS) $(DEB_DIR)

.PHONY: install uninstall qemu-deb
