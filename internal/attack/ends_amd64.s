#include "textflag.h"

// func int80(nr uintptr) uintptr
// A call by the 32-bit table of the same kernel.
TEXT ·int80(SB),NOSPLIT,$0-16
	MOVQ nr+0(FP), AX
	INT $0x80
	MOVQ AX, ret+8(FP)
	RET
