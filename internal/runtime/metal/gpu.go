package metal

import (
	"fmt"

	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/runtime/metal/objc"
)

// GPU is Apple's GPU and its limits, in bytes.
type GPU struct {
	Name              string   `json:"name"`
	Architecture      string   `json:"architecture"`
	System            string   `json:"system"`
	Memory            int64    `json:"memory"` // of the whole machine
	Families          []string `json:"families"`
	Unified           bool     `json:"unified_memory"`
	MaxBuffer         int64    `json:"max_buffer"`
	WorkingSet        int64    `json:"recommended_working_set"`
	Allocated         int64    `json:"allocated"`
	ThreadgroupMemory int      `json:"threadgroup_memory"`
	// BFloat tells whether MSL's bfloat is there. No kernel needs it: they read
	// bf16 as 16-bit words.
	BFloat bool `json:"bfloat"`
}

// families are those that matter, oldest first.
var families = []struct {
	name   string
	number int
}{{"Apple7", objc.FamilyApple7}, {"Apple8", objc.FamilyApple8}, {"Apple9", objc.FamilyApple9}, {"Apple10", objc.FamilyApple10}, {"Metal3", objc.FamilyMetal3}}

// Probe describes this machine's GPU through api.
func Probe(api *objc.API) (m *GPU, err error) {
	err = api.Pool(func() error {
		gpu := api.DefaultDevice()
		if gpu == 0 {
			return fmt.Errorf("%w: the system names no GPU", objc.ErrNotHere)
		}
		defer api.Release(gpu)
		m = describe(api, gpu)
		return nil
	})
	return m, err
}

func describe(api *objc.API, gpu objc.ID) *GPU {
	m := &GPU{
		Name: api.DeviceName(gpu), Architecture: api.DeviceArchitecture(gpu), System: "macOS " + api.SystemVersion(), Memory: api.Memory(),
		Unified: api.Unified(gpu), MaxBuffer: api.MaxBuffer(gpu), WorkingSet: api.WorkingSet(gpu),
		Allocated: api.Allocated(gpu), ThreadgroupMemory: api.ThreadgroupMemory(gpu),
	}
	for _, f := range families {
		if api.SupportsFamily(gpu, f.number) {
			m.Families = append(m.Families, f.name)
		}
	}
	m.BFloat = len(m.Families) > 0 // MSL 3.1 has it for Apple6, Metal3 and later
	return m
}

// check refuses GPUs that kernels were not made for.
func (m *GPU) check() error {
	known := map[string]bool{}
	for _, f := range m.Families {
		known[f] = true
	}
	switch {
	case !known["Apple7"] || !known["Metal3"] || !m.Unified:
		return fmt.Errorf("%w: %s (families %v, unified memory %v) is not of an M1 or later", objc.ErrNotHere, m.Name, m.Families, m.Unified)
	case m.ThreadgroupMemory < target.GPU.SharedMemory:
		return fmt.Errorf("%s has %s of threadgroup memory; kernels use up to %s", m.Name, message.Bytes(int64(m.ThreadgroupMemory)), message.Bytes(int64(target.GPU.SharedMemory)))
	}
	return nil
}
