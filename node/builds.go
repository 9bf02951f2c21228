package node

// MaxBuildInfo is how large the build info of a build may be, in bytes.
const MaxBuildInfo = 32 << 20
