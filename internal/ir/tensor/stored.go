package tensor

// Files hold stored parameters, which are read from them while a model is used. They
// belong to others, who may write to them meanwhile.
type Files interface {
	// Ready reports, before anything is computed, whether the values can be used.
	Ready() error
	// Intact tells, after a step, whether the files are as they were opened: if
	// not, nobody knows what the step has read.
	Intact() error
}

// Stored is a Source whose rows are read from files.
type Stored interface {
	Source
	Files() Files
}

// Row32 and Row64 panic with Unreadable where a row's bytes are gone: they return no
// error, for hardly any row ever fails. The evaluator makes it the error of its step.
type Unreadable struct{ Err error }

func (u *Unreadable) Error() string { return u.Err.Error() }
