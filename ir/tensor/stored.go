package tensor

// Files are what stored parameters are read from while they are used. They belong
// to others, who may write to them meanwhile.
type Files interface {
	// Ready tells, before anything is computed, whether the values can be used.
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

// Unreadable is what Row32 and Row64 panic with where a row's bytes are gone: they
// have no error to return, for hardly any row ever fails. The evaluator makes it
// the error of its step.
type Unreadable struct{ Err error }

func (u *Unreadable) Error() string { return u.Err.Error() }
