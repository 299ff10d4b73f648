package kernel

// Good is the sample that tests of both packages use.
const Good = good
