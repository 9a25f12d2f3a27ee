package attack

// surfaceArch is empty: arm64 has no older forms of the calls.
var surfaceArch []call
