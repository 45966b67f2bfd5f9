// SPDX-License-Identifier: Apache-2.0
using Tidemark.Blocks;
using Tidemark.Nbd;

namespace Tidemark.Engine.Restore.Targets;

/// <summary>An export of somebody's NBD server, at least as large as the disk, written in place.</summary>
internal sealed class NbdTarget(NbdUri uri, string text) : RestoreTarget
{
    private IAsyncDisposable? _open;

    public override string Display => text;

    public override bool IsInPlace => true;

    public override bool StartsZero => false;

    public override async Task CheckAsync(long size, bool force, CancellationToken cancellationToken)
    {
        if (!force)
        {
            throw EngineException.Failed(
                $"Target '{text}' is an existing export, and all it holds would be overwritten; nothing was written.", "add --force");
        }

        await using var target = await ConnectAsync(() => NbdBlockTarget.OpenAsync(uri, NbdClientOptions.Default, cancellationToken));
        if (target.Size < size)
            throw EngineException.Failed($"Export '{text}' has {target.Size} bytes; the disk has {size}.");
        if (!target.CanFlush)
            throw EngineException.Failed($"Export '{text}' cannot be flushed, so a restore to it could not be proved.");
    }

    public override async Task<IBlockTarget> OpenAsync(long size, CancellationToken cancellationToken)
    {
        var target = await ConnectAsync(() => NbdBlockTarget.OpenAsync(uri, NbdClientOptions.Default, cancellationToken));
        _open = target;
        return target;
    }

    public override async Task<IBlockSource> ReadBackAsync(CancellationToken cancellationToken)
    {
        await DisposeAsync();
        var source = await ConnectAsync(() => NbdBlockSource.OpenAsync(uri, NbdClientOptions.Default, cancellationToken));
        _open = source;
        return source;
    }

    public override async Task KeepAsync(CancellationToken cancellationToken) => await DisposeAsync();

    public override async ValueTask DisposeAsync()
    {
        if (_open is not null)
            await _open.DisposeAsync();
        _open = null;
    }

    private async Task<T> ConnectAsync<T>(Func<Task<T>> open)
    {
        try
        {
            return await open();
        }
        catch (Exception e) when (e is IOException or System.Net.Sockets.SocketException or NbdException)
        {
            throw EngineException.Failed($"Export '{text}' cannot be opened: {e.Message}", inner: e);
        }
    }
}
