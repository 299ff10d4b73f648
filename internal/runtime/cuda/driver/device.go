package driver

import (
	"fmt"

	"smelt.example/smelt/internal/runtime/dynlib"
)

// Card is a GPU.
type Card struct {
	Ordinal    int
	Name       string
	Capability int   // 90 for 9.0
	Cores      int   // streaming multiprocessors
	Shared     int   // bytes of shared memory that a block has without asking for more
	Threads    int   // of a block, at most
	Warp       int   // lanes of a warp
	Cache      int64 // bytes of its second-level cache
	device     int32
}

// The driver's numbers of attributes.
const (
	attributeThreads   = 1
	attributeShared    = 8
	attributeWarp      = 10
	attributeCores     = 16
	attributeCache     = 38
	attributeMajor     = 75
	attributeMinor     = 76
	attributeAddresses = 102 // virtual memory management is supported
)

// Cards lists the GPUs. The error is an ErrNotHere if there is none.
func (a *API) Cards() ([]Card, error) {
	var n int32
	if err := a.do("cuDeviceGetCount", a.t.DeviceGetCount(&n)); err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, fmt.Errorf("%w: the driver sees no card", ErrNotHere)
	}
	var cards []Card
	for i := range n {
		c, err := a.card(i)
		if err != nil {
			return nil, fmt.Errorf("GPU %d: %w", i, err)
		}
		cards = append(cards, c)
	}
	return cards, nil
}

func (a *API) card(ordinal int32) (Card, error) {
	c := Card{Ordinal: int(ordinal)}
	if err := a.do("cuDeviceGet", a.t.DeviceGet(&c.device, ordinal)); err != nil {
		return c, err
	}
	var name [256]byte
	if err := a.do("cuDeviceGetName", a.t.DeviceGetName(&name[0], int32(len(name)-1), c.device)); err != nil {
		return c, err
	}
	c.Name = dynlib.Text(&name[0])
	var major, minor, cache, addresses int
	for _, x := range []struct {
		attribute int32
		value     *int
	}{{attributeThreads, &c.Threads}, {attributeShared, &c.Shared}, {attributeWarp, &c.Warp}, {attributeCores, &c.Cores},
		{attributeCache, &cache}, {attributeMajor, &major}, {attributeMinor, &minor}, {attributeAddresses, &addresses}} {
		var v int32
		if err := a.do("cuDeviceGetAttribute", a.t.DeviceGetAttribute(&v, x.attribute, c.device)); err != nil {
			return c, err
		}
		*x.value = int(v)
	}
	if addresses == 0 {
		return c, fmt.Errorf("%s has no virtual memory management, which the weights need", c.Name)
	}
	c.Capability, c.Cache = 10*major+minor, int64(cache)
	return c, nil
}

// Retain makes or shares the context of a card.
func (a *API) Retain(c Card) (x Context, err error) {
	err = a.do("cuDevicePrimaryCtxRetain", a.t.DevicePrimaryCtxRetain(&x, c.device))
	return x, err
}

// Release gives the context back.
func (a *API) Release(c Card) error {
	return a.do("cuDevicePrimaryCtxRelease", a.t.DevicePrimaryCtxRelease(c.device))
}

// Enter makes a context that of the calling thread.
func (a *API) Enter(x Context) error { return a.do("cuCtxSetCurrent", a.t.CtxSetCurrent(x)) }
