package fake

import "slices"

// residencySet is an MTLResidencySet's. Additions count from the set's commit on.
type residencySet struct {
	object    *object
	pending   []*buffer
	members   []*buffer // in the order added
	has       map[*buffer]bool
	requested bool
}

// drop forgets buffers that are gone.
func (s *residencySet) drop() {
	gone := func(b *buffer) bool { return !b.object.alive() }
	s.pending = slices.DeleteFunc(s.pending, gone)
	s.members = slices.DeleteFunc(s.members, func(b *buffer) bool {
		if gone(b) {
			delete(s.has, b)
			return true
		}
		return false
	})
}

// maxSets is how many residency sets a queue can have.
const maxSets = 32

func residencyClasses() []*class {
	return []*class{
		{name: "MTLResidencySetDescriptor", extends: root, since: 15, static: []method{
			{selector: "new", do: func(r *Runtime, _ *object, _ []uintptr) uintptr {
				return r.owned(r.make("MTLResidencySetDescriptor", nil))
			}},
		}, instance: []method{
			setLabel(),
			{selector: "setInitialCapacity:", params: []string{word}, do: func(*Runtime, *object, []uintptr) uintptr { return 0 }},
		}},
		{name: "MTLResidencySet", extends: root, since: 15, instance: []method{
			{selector: "addAllocation:", params: []string{"MTLAllocation"}, do: func(r *Runtime, self *object, args []uintptr) uintptr {
				s := self.data.(*residencySet)
				s.pending = append(s.pending, r.object(args[0]).data.(*buffer))
				return 0
			}},
			{selector: "commit", do: func(_ *Runtime, self *object, _ []uintptr) uintptr {
				s := self.data.(*residencySet)
				s.drop()
				for _, b := range s.pending {
					if !s.has[b] {
						s.members, s.has[b] = append(s.members, b), true
					}
				}
				s.pending = nil
				return 0
			}},
			{selector: "requestResidency", do: func(r *Runtime, self *object, _ []uintptr) uintptr {
				s := self.data.(*residencySet)
				if len(s.pending) > 0 {
					r.violate("%d additions were not committed", len(s.pending))
				}
				s.requested = true
				return 0
			}},
			{selector: "endResidency", do: func(r *Runtime, self *object, _ []uintptr) uintptr {
				s := self.data.(*residencySet)
				if !s.requested {
					r.violate("residency was not requested")
				}
				s.requested = false
				return 0
			}},
		}},
	}
}

func newResidencySet(r *Runtime, _ *object, args []uintptr) uintptr {
	s := &residencySet{has: map[*buffer]bool{}}
	s.object = r.make("MTLResidencySet", s)
	s.object.label = r.object(args[0]).label
	return r.owned(s.object)
}

// queueResidency are a queue's methods about residency sets.
func queueResidency() []method {
	return []method{
		{selector: "addResidencySet:", params: []string{"MTLResidencySet"}, since: 15, do: func(r *Runtime, self *object, args []uintptr) uintptr {
			q, o := self.data.(*queue), r.object(args[0])
			s := o.data.(*residencySet)
			switch {
			case slices.Contains(q.sets, s):
				r.violate("the queue has the set already")
			case len(q.sets) == maxSets:
				r.violate("the queue has %d sets already", maxSets)
			default:
				q.sets = append(q.sets, s)
				self.hold(o)
			}
			return 0
		}},
		{selector: "removeResidencySet:", params: []string{"MTLResidencySet"}, since: 15, do: func(r *Runtime, self *object, args []uintptr) uintptr {
			q, s := self.data.(*queue), r.object(args[0]).data.(*residencySet)
			i := slices.Index(q.sets, s)
			if i < 0 {
				r.violate("the queue does not have the set")
				return 0
			}
			q.sets = slices.Delete(q.sets, i, i+1)
			r.unhold(self, s.object)
			return 0
		}},
	}
}
