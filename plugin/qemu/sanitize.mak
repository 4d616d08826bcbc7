# SPDX-License-Identifier: GPL-2.0-or-later
#
# Devices of the QEMU that tests/qtest/vfio-pause-test.c runs on with sanitizers: what that test names, and a virtual
# IOMMU. The build has no default devices, so that it takes minutes instead of a quarter of an hour.

CONFIG_Q35=y
CONFIG_PCIE_PORT=y
CONFIG_VTD=y
CONFIG_VFIO_PCI=y
CONFIG_IOMMUFD=y
# virtfn-card-test.c
CONFIG_VIRTFN_CARD=y
