// SPDX-License-Identifier: Apache-2.0
using Tidemark.Libvirt.Native;

namespace Tidemark.Libvirt;

public sealed partial class Domain
{
    /// <param name="disk">Target name ("vda") or source path.</param>
    /// <param name="cancellationToken">Seen before the call starts.</param>
    public Task<BlockInfo> GetBlockInfoAsync(string disk, CancellationToken cancellationToken = default) =>
        CallAsync(
            $"read the size of disk '{disk}' of",
            (domain, what) =>
            {
                LibvirtErrors.Require(BlockNative.GetBlockInfo(domain, disk, out var info, 0), what);
                return new BlockInfo((long)info.Capacity, (long)info.Allocation, (long)info.Physical);
            },
            cancellationToken);

    /// <summary>Disks that failed since the machine started; an entry stays after the cause is gone.</summary>
    public Task<IReadOnlyList<DiskError>> GetDiskErrorsAsync(CancellationToken cancellationToken = default) =>
        CallAsync<IReadOnlyList<DiskError>>(
            "read the disk errors of",
            (domain, what) =>
            {
                var errors = LibvirtErrors.Require(BlockNative.GetDiskErrors(domain), what);
                return [.. errors.Select(error => new DiskError(error.Disk, (DiskErrorKind)error.Error))];
            },
            cancellationToken);

    /// <summary>Asks for one <see cref="BlockThresholdEvent"/> once a node holds more than <paramref name="bytes"/>.</summary>
    /// <param name="device">Target name, with the node's index for a scratch or backing file: <c>vda[5]</c>.</param>
    /// <param name="bytes">Position of the highest write that does not fire.</param>
    /// <param name="cancellationToken">Seen before the call starts.</param>
    public Task SetBlockThresholdAsync(string device, long bytes, CancellationToken cancellationToken = default) =>
        CallAsync(
            $"set a threshold on '{device}' of",
            (domain, what) => LibvirtErrors.Require(BlockNative.SetBlockThreshold(domain, device, (ulong)bytes, 0), what),
            cancellationToken);

    /// <summary>Changes the size of a disk of a running machine.</summary>
    public Task ResizeBlockAsync(string disk, long bytes, CancellationToken cancellationToken = default) =>
        CallAsync(
            $"resize disk '{disk}' of",
            // 1 is VIR_DOMAIN_BLOCK_RESIZE_BYTES; without it the unit is KiB.
            (domain, what) => LibvirtErrors.Require(BlockNative.BlockResize(domain, disk, (ulong)bytes, 1), what),
            cancellationToken);
}
