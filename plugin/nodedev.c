// SPDX-License-Identifier: GPL-2.0-or-later
//
// The only user of virNodeDevice*.

#include "nodedev.h"

#include <libxml/parser.h>
#include <libxml/xpath.h>
#include <string.h>

#include "error.h"
#include "virconn.h"

void vf_nodedev_free(gpointer data)
{
    VfNodedev *nodedev = data;

    g_free(nodedev->vendor);
    g_free(nodedev->product);
    g_free(nodedev);
}

// Text of an XPath's first node, NULL when it is empty. Caller frees.
static char *text_at(xmlXPathContextPtr context, const char *path)
{
    g_autofree char *expression = g_strdup_printf("string(%s)", path);
    xmlXPathObjectPtr object = xmlXPathEvalExpression(BAD_CAST expression, context);
    char *text = NULL;

    if (object != NULL && object->stringval != NULL && *object->stringval != '\0')
        text = g_strdup((const char *)object->stringval);
    xmlXPathFreeObject(object);
    return text;
}

static guint64 number_at(xmlXPathContextPtr context, const char *path, guint64 otherwise)
{
    g_autofree char *text = text_at(context, path);
    guint64 value;

    return text != NULL && g_ascii_string_to_unsigned(text, 10, 0, G_MAXUINT32, &value, NULL)
               ? value
               : otherwise;
}

static VfNodedev *read_device(xmlXPathContextPtr context)
{
    static const char capability[] = "/device/capability[@type='pci']";
    static const char functions[] =
        "/device/capability[@type='pci']/capability[@type='virt_functions']/@maxCount";
    g_autofree char *name = text_at(context, "/device/name");
    g_autofree char *max = text_at(context, functions);
    VfNodedev *nodedev;

    if (name == NULL || max == NULL)
        return NULL;
    nodedev = g_new0(VfNodedev, 1);
    nodedev->address.domain = (guint32)number_at(context, "/device/capability/domain", 0);
    nodedev->address.bus = (guint8)number_at(context, "/device/capability/bus", 0);
    nodedev->address.device = (guint8)number_at(context, "/device/capability/slot", 0);
    nodedev->address.function = (guint8)number_at(context, "/device/capability/function", 0);
    nodedev->max_vfs = (guint)g_ascii_strtoull(max, NULL, 10);
    nodedev->numa_node =
        (int)(gint64)number_at(context, "/device/capability/numa/@node", (guint64)-1);
    g_autofree char *vendor = g_strconcat(capability, "/vendor", NULL);
    g_autofree char *product = g_strconcat(capability, "/product", NULL);
    nodedev->vendor = text_at(context, vendor);
    nodedev->product = text_at(context, product);
    return nodedev;
}

VfNodedev *vf_nodedev_parse(const char *xml, GError **error)
{
    xmlDocPtr document = xmlReadMemory(xml, (int)strlen(xml), "nodedev.xml", NULL,
                                       XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
    xmlXPathContextPtr context = document != NULL ? xmlXPathNewContext(document) : NULL;
    VfNodedev *nodedev = NULL;

    if (context == NULL)
        g_set_error(error, VF_ERROR, VF_ERROR_LIBVIRT,
                    "node device: libvirt's XML is not well-formed");
    else
        nodedev = read_device(context);
    xmlXPathFreeContext(context);
    xmlFreeDoc(document);
    return nodedev;
}

GPtrArray *vf_nodedev_list(virConnectPtr connection, GError **error)
{
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(vf_nodedev_free);
    virNodeDevicePtr *devices = NULL;
    int n = virConnectListAllNodeDevices(connection, &devices,
                                         VIR_CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV);

    if (n < 0) {
        vf_virconn_error(error, "node devices");
        return NULL;
    }
    for (int i = 0; i < n; i++) {
        char *xml = virNodeDeviceGetXMLDesc(devices[i], 0); // NULL: it has gone meanwhile
        VfNodedev *nodedev = xml != NULL ? vf_nodedev_parse(xml, NULL) : NULL;

        if (nodedev != NULL)
            g_ptr_array_add(list, nodedev);
        free(xml);
        virNodeDeviceFree(devices[i]);
    }
    free(devices);
    return g_steal_pointer(&list);
}

typedef struct {
    void (*callback)(gpointer data);
    gpointer data;
} Watch;

static void on_event(virConnectPtr connection, virNodeDevicePtr device, int event, int detail,
                     void *data)
{
    Watch *watch = data;

    if (g_str_has_prefix(virNodeDeviceGetName(device), "pci_"))
        watch->callback(watch->data);
}

gboolean vf_nodedev_watch(virConnectPtr connection, void (*callback)(gpointer data), gpointer data)
{
    Watch *watch = g_new(Watch, 1);

    *watch = (Watch){callback, data};
    if (virConnectNodeDeviceEventRegisterAny(connection, NULL, VIR_NODE_DEVICE_EVENT_ID_LIFECYCLE,
                                             VIR_NODE_DEVICE_EVENT_CALLBACK(on_event), watch,
                                             g_free) >= 0)
        return TRUE;
    g_free(watch);
    return FALSE;
}
