/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far the host runs ahead of the device. A device that works later takes a whole epoch's calls as fast as they are
 * made: then what ends a training, Ctrl-C or a time limit, is noticed long before the work that was queued is done, and
 * all that the queue refers to is held in memory. One step ahead keeps a device busy; PACE_STEPS leave room for a host
 * that is held up now and then.
 */
#include "command.h"

rl_status pace_start(pace *self, rl_device *device) {
    self->steps = 0;
    for (int i = 0; i < PACE_STEPS; i++)
        self->events[i] = rl_event_new(device);
    return rl_error_status();
}

rl_status pace_step(pace *self) {
    rl_event *event = self->events[self->steps++ % PACE_STEPS];
    rl_event_synchronize(event); /* one that was never recorded is done */
    rl_event_record(event, NULL);
    (void)rl_event_done(event); /* has the work begin where a device waits to be asked for it */
    return rl_error_status();
}
