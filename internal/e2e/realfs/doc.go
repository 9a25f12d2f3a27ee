// Package realfs cuts the power under the storage drivers on real file systems.
//
// Its tests make images of ext4 (with and without journal), xfs and btrfs, mount
// them through loop devices, and copy an image right after each answer: what the
// kernel had not yet written to the disk is missing in the copy, as after a power
// cut. Each copy is then mounted, the store is opened as after another boot, and
// compared with what had been answered until then.
//
// The orders themselves are proved over faultfs, at every operation; here it is
// shown that real file systems keep the promises that those orders count on.
// It needs root.
package realfs
