// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Nbd;

/// <summary>Names and status bits of the meta contexts this client understands.</summary>
public static class NbdMetaContext
{
    /// <summary>Holes and zeroes (spec, "base:allocation metadata context").</summary>
    public const string BaseAllocation = "base:allocation";

    /// <summary>What QEMU puts before the name of a dirty bitmap (QEMU, docs/interop/nbd.txt).</summary>
    public const string QemuDirtyBitmapPrefix = "qemu:dirty-bitmap:";

    /// <summary>In base:allocation: not allocated. Alone it promises nothing of the content.</summary>
    public const uint StateHole = 1; // NBD_STATE_HOLE

    /// <summary>In base:allocation: reads as zero bytes.</summary>
    public const uint StateZero = 2; // NBD_STATE_ZERO

    /// <summary>In a dirty bitmap: written since the bitmap began.</summary>
    public const uint StateDirty = 1; // QEMU: NBD_STATE_DIRTY
}
