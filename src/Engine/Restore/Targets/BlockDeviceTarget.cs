// SPDX-License-Identifier: Apache-2.0
using Microsoft.Win32.SafeHandles;
using Tidemark.Blocks;
using Tidemark.Engine.Native;

namespace Tidemark.Engine.Restore.Targets;

/// <summary>
/// An existing block device, at least as large as the disk; what lies behind the disk's end is left alone. It is written in
/// place, so a failed restore leaves it half-written: that is said before (it needs <c>--force</c>) and in the error.
/// </summary>
internal sealed class BlockDeviceTarget(string path) : RestoreTarget
{
    private RawDisk? _open;
    private long _size;

    public override string Display => path;

    public override bool IsInPlace => true;

    public override bool StartsZero => false;

    public override Task CheckAsync(long size, bool force, CancellationToken cancellationToken)
    {
        if (!force)
        {
            throw EngineException.Failed(
                $"Target '{path}' is a block device, and all it holds would be overwritten; nothing was written.", "add --force");
        }

        try
        {
            using var handle = FileCalls.OpenExclusive(path);
            var actual = FileCalls.SizeOf(handle);
            if (actual < size)
                throw EngineException.Failed($"Block device '{path}' has {actual} bytes; the disk has {size}.");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw EngineException.Failed($"Block device '{path}' cannot be opened for writing: {e.Message}", inner: e);
        }

        return Task.CompletedTask;
    }

    public override Task<IBlockTarget> OpenAsync(long size, CancellationToken cancellationToken)
    {
        _size = size;
        _open = new RawDisk(FileCalls.OpenExclusive(path), Open(FileAccess.ReadWrite), _size, isBlock: true);
        return Task.FromResult<IBlockTarget>(_open);
    }

    public override async Task<IBlockSource> ReadBackAsync(CancellationToken cancellationToken)
    {
        await KeepAsync(cancellationToken);
        return _open = new RawDisk(Open(FileAccess.Read), Open(FileAccess.Read), _size, isBlock: true);
    }

    private SafeFileHandle Open(FileAccess access) => File.OpenHandle(path, FileMode.Open, access, FileShare.ReadWrite);

    public override async Task KeepAsync(CancellationToken cancellationToken) => await DisposeAsync();

    public override async ValueTask DisposeAsync()
    {
        if (_open is not null)
            await _open.DisposeAsync();
        _open = null;
    }
}
