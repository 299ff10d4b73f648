package chat

// Profiled is a Format with several revisions, which a checkpoint's files may not tell
// apart.
type Profiled interface {
	Format
	// Profiles are the names of the revisions.
	Profiles() []string
	// In is the format in the revision of that name, which is one of Profiles.
	In(profile string) Format
}
