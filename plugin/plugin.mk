# SPDX-License-Identifier: GPL-2.0-or-later
#
# The daemon. All of it but main() is in the library, which the tests link too.

$(B)/virtfnd: $(O)/plugin/virtfnd.o $(LIB)
	$(say) LD $@
	$(Q)$(CC) $(LDHARDENING) $^ $(PKG_LIBS) -o $@

$(O)/openapi.c: plugin/openapi.json plugin/plugin.mk
	@mkdir -p $(@D)
	$(Q){ echo '#include "openapi.h"'; echo 'const char vf_openapi_json[] ='; \
	    sed -e 's/[\\"]/\\&/g' -e 's/.*/    "&\\n"/' $<; echo '    ;'; } > $@

$(O)/openapi.o: $(O)/openapi.c
	$(say) CC $<
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS) $(WARNINGS) $(HARDENING) -MMD -MP -c $< -o $@
