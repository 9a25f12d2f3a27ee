#include "textflag.h"

// func onSIGSYS()
// The kernel calls it as handler(sig, info, ucontext): the interrupted
// program's R0, the result of its system call, becomes -4000.
TEXT ·onSIGSYS(SB),NOSPLIT|NOFRAME,$0
	MOVD $-4000, R3
	MOVD R3, 184(R2)
	RET

// func restorer()
// Unused on arm64: the kernel's own code leads back.
TEXT ·restorer(SB),NOSPLIT|NOFRAME,$0
	RET

// func addresses() (handler, restorer uintptr)
TEXT ·addresses(SB),NOSPLIT,$0-16
	MOVD $·onSIGSYS(SB), R0
	MOVD R0, handler+0(FP)
	MOVD $·restorer(SB), R0
	MOVD R0, restorer+8(FP)
	RET
