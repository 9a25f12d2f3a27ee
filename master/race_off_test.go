//go:build !race

package master

const raceBuild = false
