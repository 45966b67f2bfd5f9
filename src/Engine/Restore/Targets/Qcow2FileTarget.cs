// SPDX-License-Identifier: Apache-2.0
using Tidemark.Blocks;
using Tidemark.Nbd;
using Tidemark.Qemu;

namespace Tidemark.Engine.Restore.Targets;

/// <summary>A qcow2 image file, written and read back through QEMU's own qcow2 code behind an NBD socket of ours.</summary>
internal sealed class Qcow2FileTarget(string path) : FileTarget(path)
{
    private readonly string _folder = Path.Combine(Path.GetTempPath(), $"tidemark-{Guid.NewGuid():n}");
    private QemuNbd? _server;
    private IAsyncDisposable? _client;

    private ImageRef Image => ImageRef.File(WorkPath, "qcow2");

    protected override async Task<IBlockTarget> CreateAsync(long size, CancellationToken cancellationToken)
    {
        try
        {
            await QemuImg.CreateAsync(Image, size, cancellationToken);
            var uri = await ServeAsync(readOnly: false, cancellationToken);
            var target = await NbdBlockTarget.OpenAsync(uri, NbdClientOptions.Default, cancellationToken);
            _client = target;
            return target;
        }
        catch (ImageToolException e)
        {
            throw EngineException.Failed(e.Message, inner: e);
        }
    }

    public override async Task<IBlockSource> ReadBackAsync(CancellationToken cancellationToken)
    {
        try
        {
            await CloseAsync(cancellationToken);
            var uri = await ServeAsync(readOnly: true, cancellationToken);
            var source = await NbdBlockSource.OpenAsync(uri, NbdClientOptions.Default, cancellationToken);
            _client = source;
            return source;
        }
        catch (ImageToolException e)
        {
            throw EngineException.Failed(e.Message, inner: e);
        }
    }

    protected override async Task CloseAsync(CancellationToken cancellationToken)
    {
        var (client, server) = (_client, _server);
        (_client, _server) = (null, null);
        if (client is not null)
            await client.DisposeAsync();
        if (server is not null)
        {
            await using (server)
                await server.StopAsync();
        }

        if (Directory.Exists(_folder))
            Directory.Delete(_folder, recursive: true);
    }

    private async Task<NbdUri> ServeAsync(bool readOnly, CancellationToken cancellationToken)
    {
        Directory.CreateDirectory(_folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        var socket = Path.Combine(_folder, "nbd.sock");
        _server = await QemuNbd.ServeAsync(
            new QemuNbdOptions { Image = Image, SocketPath = socket, ReadOnly = readOnly }, cancellationToken);
        return NbdUri.ForUnixSocket(socket, "");
    }
}
