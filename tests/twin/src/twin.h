// A device that schedules as Metal does and computes on the CPU.

#pragma once

#include "ggml-backend-impl.h"
#include "ggml-metal-device.h"

// What the device says about itself; everything else of this type belongs to Objective-C.
struct ggml_metal_device {
    struct ggml_metal_device_props props;
};
