// SPDX-License-Identifier: Apache-2.0
using Microsoft.Win32.SafeHandles;
using Tidemark.Blocks;
using Tidemark.Engine.Native;

namespace Tidemark.Engine.Restore.Targets;

/// <summary>A raw image file; what is zero in the disk is a hole in the file.</summary>
internal sealed class RawFileTarget(string path) : FileTarget(path)
{
    private RawDisk? _open;

    protected override Task<IBlockTarget> CreateAsync(long size, CancellationToken cancellationToken)
    {
        using (var file = new FileStream(WorkPath, FileMode.Open, FileAccess.Write))
            file.SetLength(size);
        _open = new RawDisk(Open(FileAccess.ReadWrite), Open(FileAccess.ReadWrite), size, isBlock: false);
        return Task.FromResult<IBlockTarget>(_open);
    }

    public override async Task<IBlockSource> ReadBackAsync(CancellationToken cancellationToken)
    {
        await CloseAsync(cancellationToken);
        var handle = Open(FileAccess.Read);
        _open = new RawDisk(handle, Open(FileAccess.Read), FileCalls.SizeOf(handle), isBlock: false);
        return _open;
    }

    private SafeFileHandle Open(FileAccess access) => File.OpenHandle(WorkPath, FileMode.Open, access, FileShare.ReadWrite);

    protected override async Task CloseAsync(CancellationToken cancellationToken)
    {
        if (_open is not null)
            await _open.DisposeAsync();
        _open = null;
    }
}
