/* SPDX-License-Identifier: GPL-2.0 */
/* Many sockets of a model by number: what a simulation of millions of connects can afford. */
#ifndef NITY_ADDON_MODEL_POOL_H
#define NITY_ADDON_MODEL_POOL_H

#include <napi.h>

#include "model_plane.h"

namespace nity {

Napi::Object make_pool(Napi::Env env, SharedPlane plane, uint32_t count);

} // namespace nity

#endif
