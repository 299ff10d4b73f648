// Package bundle writes and reads what smelt compile makes: a folder with
//
//	bundle.json              the plan, the parameters' places in the checkpoint, sizes
//	plan.ir                  the fused module, as text
//	kernels/ir/NAME.kir      each kernel as kernel IR
//	kernels/metal/NAME.metal each kernel as the target's text; kernels/cpu/NAME.ll
//	                         for processors
//
// It points at the checkpoint and holds no weights; a checkpoint that changed
// is refused. The same checkpoint and options give the same bytes.
package bundle

// Version is the format's number; others are refused.
const Version = 2

// document is bundle.json. Formulas are texts over the module's symbols.
type document struct {
	Format     int         `json:"format"`
	Model      modelDoc    `json:"model"`
	Target     string      `json:"target"`
	Threads    int         `json:"threads,omitempty"` // of a threadgroup at most, where fewer than the target's
	Options    optionsDoc  `json:"options"`
	Memory     memoryDoc   `json:"memory"`
	Notes      []string    `json:"notes,omitempty"`
	Symbols    []symbolDoc `json:"symbols"`
	Kernels    []string    `json:"kernels"`
	Caches     []cacheDoc  `json:"caches"`
	Steps      []stepDoc   `json:"steps"`
	Parameters []paramDoc  `json:"parameters"`
	// Contents are the SHA-256 of the bundle's other files, by name.
	Contents map[string]string `json:"contents_sha256"`
}

type modelDoc struct {
	Name       string    `json:"name"`
	Checkpoint string    `json:"checkpoint"`
	Layout     string    `json:"layout"`
	Config     string    `json:"config_sha256"`
	Files      []fileDoc `json:"files"`
}

type fileDoc struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	Header string `json:"header_sha256"`
}

type optionsDoc struct {
	Context int    `json:"context"`
	Chunk   int    `json:"chunk"`
	Slots   int    `json:"slots"`
	Wanted  int    `json:"wanted"`
	Rows    string `json:"cache_rows"`
	Keys    string `json:"cache_keys"`
}

// memoryDoc is what running takes, in bytes.
type memoryDoc struct {
	Weights int64  `json:"weights"`
	Caches  int64  `json:"caches"`
	Arena   int64  `json:"arena"`
	Steps   int64  `json:"step_blocks"`
	Peak    int64  `json:"peak"`
	Formula string `json:"formula"`
}

type symbolDoc struct {
	Name string `json:"name"`
	Def  string `json:"def"`
	Arg  int64  `json:"arg,omitempty"`
}

type cacheDoc struct {
	State    string `json:"state"`
	Stored   string `json:"stored"`
	Width    int    `json:"width"`
	RowBytes int    `json:"row_bytes"`
	Capacity int    `json:"capacity"`
	Ring     bool   `json:"ring,omitempty"`
	Slots    int    `json:"slots"`
	Offset   int64  `json:"offset"`
	Bytes    int64  `json:"bytes"`
}

type stepDoc struct {
	Kind       string           `json:"kind"`
	MaxRows    int              `json:"max_rows"`
	Closing    []int            `json:"closing,omitempty"`
	Ropes      []ropeDoc        `json:"ropes,omitempty"`
	ArenaBytes int64            `json:"arena_bytes"`
	Limits     map[string]int64 `json:"limits"`
	Buffers    []bufferDoc      `json:"buffers"`
	Results    []int            `json:"results"`
	Tokens     *int             `json:"tokens,omitempty"` // a buffer
	Dispatches []dispatchDoc    `json:"dispatches"`
}

type ropeDoc struct {
	Ratio    int     `json:"ratio,omitempty"`
	Dims     int     `json:"dims"`
	Theta    float64 `json:"theta"`
	Factor   float64 `json:"factor,omitempty"`
	Original int     `json:"original,omitempty"`
	BetaFast float64 `json:"beta_fast,omitempty"`
	BetaSlow float64 `json:"beta_slow,omitempty"`
}

type bufferDoc struct {
	Name    string `json:"name"`
	Bytes   string `json:"bytes"`
	Size    int64  `json:"size"`
	Offset  int64  `json:"offset"`
	First   int    `json:"first"`
	Last    int    `json:"last"`
	Scratch bool   `json:"scratch,omitempty"`
}

type dispatchDoc struct {
	Kernel        string    `json:"kernel"`
	Region        string    `json:"region"`
	Role          string    `json:"role,omitempty"`
	Grid          [3]string `json:"grid"`
	Level         int       `json:"level"`
	Barrier       bool      `json:"barrier,omitempty"`
	CommandBuffer int       `json:"command_buffer,omitempty"`
	Args          []argDoc  `json:"args"`
}

// argDoc binds one kernel parameter; one of the pointers is set.
type argDoc struct {
	Buffer *int       `json:"buffer,omitempty"`
	Cache  *int       `json:"cache,omitempty"`
	Weight *weightDoc `json:"weight,omitempty"`
	Scalar *int32     `json:"scalar,omitempty"`
	Needs  string     `json:"needs"`
}

type weightDoc struct {
	Param string `json:"param"`
	Plane string `json:"plane"`
	Align int    `json:"align"`
	Table bool   `json:"table,omitempty"`
}

type paramDoc struct {
	Name     string     `json:"name"`
	Rows     int        `json:"rows"`
	Cols     int        `json:"cols"`
	Lead     int        `json:"lead,omitempty"`
	Encoding string     `json:"encoding,omitempty"`
	Integer  string     `json:"integer,omitempty"`
	Pieces   []pieceDoc `json:"pieces"`
}

// pieceDoc: extents are [file, offset, bytes].
type pieceDoc struct {
	First  int       `json:"first,omitempty"`
	Rows   int       `json:"rows"`
	Stored int       `json:"stored,omitempty"`
	Weight [3]int64  `json:"weight"`
	Scales *[3]int64 `json:"scales,omitempty"`
	Biases *[3]int64 `json:"biases,omitempty"`
}
