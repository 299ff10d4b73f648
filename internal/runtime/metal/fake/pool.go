package fake

import "slices"

// pools are a thread's autorelease pools, innermost last.
type pools struct {
	tokens  []uintptr
	begins  []int     // where each pool's objects begin
	objects []*object // a share of each for every time it is in
}

// firstToken is where pools' tokens begin.
const firstToken = 0x9001 << 32

// push is objc_autoreleasePoolPush.
func (r *Runtime) push() uintptr {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pushes++
	p := r.pools[thread()]
	if p == nil {
		p = &pools{}
		r.pools[thread()] = p
	}
	r.token++
	p.tokens = append(p.tokens, firstToken+r.token)
	p.begins = append(p.begins, len(p.objects))
	return firstToken + r.token
}

// pop is objc_autoreleasePoolPop. Pools that were pushed later end too, which is
// a violation.
func (r *Runtime) pop(args []uintptr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pops++
	r.call = site{0, "objc_autoreleasePoolPop"}
	if r.closed { // memory is gone already
		return
	}
	p := r.pools[thread()]
	if len(args) != 1 {
		r.violate("takes 1 argument, not %d", len(args))
		return
	}
	if p == nil || !slices.Contains(p.tokens, args[0]) {
		r.violate("%#x is no pool of this thread", args[0])
		return
	}
	for {
		last := len(p.tokens) - 1
		found := p.tokens[last] == args[0]
		if !found {
			r.violate("a pool that was pushed later is still there")
		}
		begin := p.begins[last]
		p.tokens, p.begins = p.tokens[:last], p.begins[:last]
		r.drain(p, begin)
		if found {
			return
		}
	}
}

// drain takes the pool's shares of its objects, the last first.
func (r *Runtime) drain(p *pools, begin int) {
	for i := len(p.objects) - 1; i >= begin; i-- {
		o := p.objects[i]
		p.objects[i] = nil
		o.pooled--
		r.settle(o)
	}
	p.objects = p.objects[:begin]
}

// autoreleased gives an object to the thread's innermost pool, as a +0 result.
func (r *Runtime) autoreleased(o *object) uintptr {
	o.pooled++
	p := r.pools[thread()]
	if p == nil || len(p.tokens) == 0 {
		r.violate("makes a %s that is autoreleased with no pool on this thread: it leaks", o.class.name)
		return uintptr(o.id)
	}
	p.objects = append(p.objects, o)
	return uintptr(o.id)
}
