package objc

import "unsafe"

// Values of enums that command buffers and encoders take or tell.
const (
	DispatchConcurrent = 1 // MTLDispatchTypeConcurrent
	BarrierBuffers     = 1 // MTLBarrierScopeBuffers
	UsageRead          = 1 // MTLResourceUsageRead
	UsageWrite         = 2 // MTLResourceUsageWrite

	StatusCompleted = 4 // MTLCommandBufferStatusCompleted
	StatusError     = 5 // MTLCommandBufferStatusError
)

// Codes of MTLCommandBufferErrorDomain.
const (
	CommandBufferErrors = "MTLCommandBufferErrorDomain"

	FailedTimeout       = 2
	FailedPageFault     = 3
	FailedAccessRevoked = 4
	FailedNotPermitted  = 7
	FailedOutOfMemory   = 8
	FailedDeviceRemoved = 11
)

// NewQueue makes a queue on which at most so many command buffers wait.
func (a *API) NewQueue(d ID, buffers int, label string) ID {
	q := ID(a.call(DeviceNewQueue, d, uintptr(buffers)))
	a.label(QueueLabel, q, label)
	return q
}

// NewEvent makes a shared event, which begins at 0.
func (a *API) NewEvent(d ID) ID { return ID(a.call(DeviceNewEvent, d)) }

// NewFence makes a fence between encoders.
func (a *API) NewFence(d ID) ID { return ID(a.call(DeviceNewFence, d)) }

// Status is how far a command buffer is.
func (a *API) Status(buffer ID) int { return int(a.call(CommandBufferStatus, buffer)) }

// Failure is why a command buffer failed.
func (a *API) Failure(buffer ID) error { return a.errorOf(ID(a.call(CommandBufferError, buffer))) }

// Times are when the GPU began and ended a completed command buffer, in seconds
// of one clock.
func (a *API) Times(buffer ID) (start, end float64) {
	return a.entry.SendFloat64(buffer, a.selectors[CommandBufferStart]), a.entry.SendFloat64(buffer, a.selectors[CommandBufferEnd])
}

// LabelCommandBuffer and LabelEncoder name what tools show.
func (a *API) LabelCommandBuffer(buffer ID, label string) { a.label(CommandBufferLabel, buffer, label) }

// LabelEncoder names an encoder.
func (a *API) LabelEncoder(encoder ID, label string) { a.label(EncoderLabel, encoder, label) }

// PushGroup begins a group of commands that tools show under a name; PopGroup
// ends it.
func (a *API) PushGroup(encoder ID, name string) { a.label(EncoderPushGroup, encoder, name) }

// PopGroup ends the group begun last.
func (a *API) PopGroup(encoder ID) { a.call(EncoderPopGroup, encoder) }

// Array is the address of an array of objects, which must stay as long as it is
// used; 0 of none.
func Array(ids []ID) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(ids)) }
