package ir

// ValidName is for the tests.
var ValidName = validName
