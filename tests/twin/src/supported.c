// Which operations Metal computes: its own functions, for the twin's device.

#include "ggml-impl.h"
#include "ggml-metal-common.h"
#include "ggml-metal-impl.h"
#include "twin.h"

#include "supported.inc"
