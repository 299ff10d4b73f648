// Package bundle writes and opens bundles. smelt compile makes one, a folder with
//
//	bundle.json   the plan, the parameters' places in the checkpoint, sizes; it names
//	smelt-DIGEST/ the folder of
//	    plan.ir                    the fused module, as text
//	    kernels/ir/NAME.kir        each kernel as kernel IR
//	    kernels/metal/NAME.metal   each kernel as the target's text; kernels/cuda
//	    kernels/cpu/NAME.ll        for cards, NAME.ll for processors
//	times.json    when the checkpoint's files were modified last
//	weights.json  with smelt compile --hash: SHA-256 of those files
//
// It points at the checkpoint and holds no weights; a checkpoint with another
// configuration, other files, sizes or headers is refused. The same checkpoint and
// options give the same bytes, but for times.json and the record of weights.
//
// # What is trusted
//
// bundle.json ends with the SHA-256 of its own bytes before the comma of that last
// member, and names the SHA-256 of every file in the folder smelt-DIGEST. That
// finds damage. It proves nothing, and nothing is run because bundle.json says so:
// opening plans again from plan.ir, and what that gives must be, byte for byte, what
// bundle.json says. Where the parameters lie is compared with the checkpoint's
// headers when that is opened. smelt verify compiles again from the checkpoint and
// compares all files.
//
// # How it is replaced
//
// DIGEST stands for the contents of that folder (see folderOf). A compile writes
// its folder beside the one in use and renames a new bundle.json over the old: the
// bundle is the old one before and the new one after, on every file system, also
// when the process is killed or the power fails. Then what the new bundle.json does
// not name is removed. Readers go by bundle.json alone.
package bundle

// formatVersion is the format's number; others are refused.
const formatVersion = 7

// document is bundle.json. Formulas are texts over the module's symbols.
type document struct {
	Format     int         `json:"format"`
	Model      modelDoc    `json:"model"`
	Target     string      `json:"target"`
	Threads    int         `json:"threads,omitempty"`        // of a threadgroup at most, where fewer than the target's
	Bitwise    bool        `json:"without_halves,omitempty"` // kernels unpack without halves, which the target has
	Options    optionsDoc  `json:"options"`
	Memory     memoryDoc   `json:"memory"`
	Notes      []string    `json:"notes,omitempty"`
	Symbols    []symbolDoc `json:"symbols"`
	Kernels    []string    `json:"kernels"`
	Caches     []cacheDoc  `json:"caches"`
	Steps      []stepDoc   `json:"steps"`
	Parameters []paramDoc  `json:"parameters"`
	// Folder holds the bundle's other files, Contents their SHA-256 by name.
	Folder   string            `json:"folder"`
	Contents map[string]string `json:"contents_sha256"`
	// Seal is the SHA-256 of all bytes before the comma that this member follows; see seal.
	Seal string `json:"sha256,omitzero"`
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

// memoryDoc counts the bytes that running takes.
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
	Arg  int64  `json:"arg,omitzero"`
}

type cacheDoc struct {
	State    string `json:"state"`
	Stored   string `json:"stored"`
	Width    int    `json:"width"`
	RowBytes int    `json:"row_bytes"`
	Capacity int    `json:"capacity"`
	Ring     bool   `json:"ring,omitzero"`
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
	Scores     *int             `json:"scores,omitempty"` // a buffer
	Dispatches []dispatchDoc    `json:"dispatches"`
	Picks      int              `json:"picks"`   // the first of them that picks tokens
	Scoring    int              `json:"scoring"` // the first that scores tokens; a step has only those before
}

type ropeDoc struct {
	Ratio    int     `json:"ratio,omitzero"`
	Dims     int     `json:"dims"`
	Theta    float64 `json:"theta"`
	Factor   float64 `json:"factor,omitzero"`
	Original int     `json:"original,omitzero"`
	BetaFast float64 `json:"beta_fast,omitzero"`
	BetaSlow float64 `json:"beta_slow,omitzero"`
}

type bufferDoc struct {
	Name    string `json:"name"`
	Bytes   string `json:"bytes"`
	Size    int64  `json:"size"`
	Offset  int64  `json:"offset"`
	First   int    `json:"first"`
	Last    int    `json:"last"`
	Scratch bool   `json:"scratch,omitzero"`
	Held    bool   `json:"held,omitzero"`
}

type dispatchDoc struct {
	Kernel        string    `json:"kernel"`
	Region        string    `json:"region"`
	Role          string    `json:"role,omitzero"`
	Grid          [3]string `json:"grid"`
	Level         int       `json:"level"`
	Barrier       bool      `json:"barrier,omitzero"`
	CommandBuffer int       `json:"command_buffer,omitzero"`
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
	Table bool   `json:"table,omitzero"`

	Start  int `json:"start,omitzero"`
	Stride int `json:"stride,omitzero"`
}

type paramDoc struct {
	Name     string     `json:"name"`
	Rows     int        `json:"rows"`
	Cols     int        `json:"cols"`
	Lead     int        `json:"lead,omitzero"`
	Encoding string     `json:"encoding,omitzero"`
	Integer  string     `json:"integer,omitzero"`
	Columns  [2]int     `json:"columns,omitzero"` // first, and those of a stored row
	Pieces   []pieceDoc `json:"pieces"`
}

// pieceDoc: extents are [file, offset, bytes].
type pieceDoc struct {
	First  int       `json:"first,omitzero"`
	Rows   int       `json:"rows"`
	Stored int       `json:"stored,omitzero"`
	Weight [3]int64  `json:"weight"`
	Scales *[3]int64 `json:"scales,omitempty"`
	Biases *[3]int64 `json:"biases,omitempty"`
}
