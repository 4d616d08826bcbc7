// SPDX-License-Identifier: GPL-2.0-or-later
//
// The steps of making one function ready, in order: VFs, free?, settings that want it unbound,
// vfio-pci, settings that want it bound. Each is a no-op when it holds already, so running it again
// after a crash ends in the same state. No policy: the caller says what may be destroyed.

#include "provision.h"

#include "error.h"
#include "profile.h"
#include "sriov.h"

void vf_provision_free(VfProvision *provision)
{
    vf_settings_clear(&provision->settings);
    g_free(provision->pool);
    g_free(provision->domain);
    g_free(provision->device);
    g_free(provision);
}

gboolean vf_provision_create(VfProvision *p, GError **error)
{
    char pf[VF_PCIADDR_BUFSIZE];
    guint existing = vf_sriov_count(p->root, &p->pf);

    if (existing >= MAX(p->count, p->index + 1))
        return TRUE;
    if (existing > 0 && !p->may_recreate) {
        g_set_error(error, VF_ERROR, VF_ERROR_BUSY,
                    "%s: it has %u VFs, %u are needed, and guests use them" VF_REMEDY
                    "stop the guests on this card and start again: VFs can be added only while "
                    "none is in use",
                    vf_pciaddr_format(&p->pf, pf), existing, MAX(p->count, p->index + 1));
        return FALSE;
    }
    guint wanted = MAX(p->count, p->index + 1);
    return vf_sriov_set_count(p->root, &p->pf, 0, p->helper, error) &&
           vf_profile_prepare_pf(p->root, &p->pf, wanted, &p->settings, error) &&
           vf_sriov_set_count(p->root, &p->pf, wanted, p->helper, error);
}

static VfTarget target_of(const VfProvision *p)
{
    return (VfTarget){.root = p->root,
                      .pf = p->pf,
                      .index = p->index,
                      .vf = p->address,
                      .pool = p->pool,
                      .domain = p->domain,
                      .device = p->device,
                      .keep_link = p->keep_link};
}

gboolean vf_provision_prepare(VfProvision *p, GError **error)
{
    char pf[VF_PCIADDR_BUFSIZE];

    if (!vf_provision_create(p, error))
        return FALSE;
    if (!vf_sriov_address(p->root, &p->pf, p->index, &p->address)) {
        g_set_error(error, VF_ERROR, VF_ERROR_SYSFS,
                    "%s: VF %u has vanished" VF_REMEDY "see the kernel log for its driver",
                    vf_pciaddr_format(&p->pf, pf), p->index);
        return FALSE;
    }
    if (!vf_sriov_check_unused(p->root, &p->address, error))
        return FALSE;

    VfTarget target = target_of(p);
    g_autofree char *driver = vf_sriov_driver(p->root, &p->address);
    if (driver != NULL && vf_profile_needs_unbound(&target, &p->settings) &&
        !vf_sriov_unbind(p->root, &p->address, error))
        return FALSE;
    return vf_profile_pre(&target, &p->settings, error) &&
           vf_sriov_bind(p->root, &p->address, "vfio-pci", error) &&
           vf_profile_post(&target, &p->settings, error);
}

gboolean vf_provision_release(VfProvision *p, GError **error)
{
    if (!vf_sriov_address(p->root, &p->pf, p->index, &p->address))
        return TRUE;
    if (!vf_sriov_check_unused(p->root, &p->address, error))
        return FALSE;

    VfTarget target = target_of(p);
    g_autoptr(GError) first = NULL;
    vf_profile_release(&target, &p->settings, &first);
    // The reset is due whatever became of the settings: the last guest's DMA set-up is in there.
    if (!vf_sriov_reset(p->root, &p->address, first == NULL ? error : NULL))
        return FALSE;
    if (first == NULL)
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&first));
    return FALSE;
}
