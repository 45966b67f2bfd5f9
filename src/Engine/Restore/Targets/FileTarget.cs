// SPDX-License-Identifier: Apache-2.0
using Tidemark.Blocks;
using Tidemark.Engine.Native;

namespace Tidemark.Engine.Restore.Targets;

/// <summary>
/// A new image file, written under a name of its own beside the final one and renamed when it is proved: whoever sees the
/// final name sees a whole disk. What the file's content means is up to the subclasses.
/// </summary>
internal abstract class FileTarget(string path) : RestoreTarget
{
    private bool _force;
    private bool _kept;
    private bool _made;

    public override string Display => path;

    public override bool StartsZero => true;

    protected string WorkPath { get; } =
        Path.Combine(Path.GetDirectoryName(path) ?? "/", $".tidemark-{Guid.NewGuid():n}.partial");

    public override Task CheckAsync(long size, bool force, CancellationToken cancellationToken)
    {
        _force = force;
        if (Directory.Exists(path))
            throw EngineException.Failed($"Target '{path}' is a folder, not a file.");
        if (File.Exists(path) && !force)
            throw EngineException.Failed($"Target file '{path}' exists; nothing was written.", "add --force to replace it");
        return Task.CompletedTask;
    }

    public sealed override async Task<IBlockTarget> OpenAsync(long size, CancellationToken cancellationToken)
    {
        _made = true;
        try
        {
            var folder = Path.GetDirectoryName(path) ?? "/";
            Directory.CreateDirectory(folder);
            // A disk is nobody else's to read; and what root restores into a user's folder is that user's.
            FileCalls.CreatePrivate(WorkPath, likeFolder: folder);
            return await CreateAsync(size, cancellationToken);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw EngineException.Failed($"Target file '{path}' cannot be created: {e.Message}", inner: e);
        }
    }

    public sealed override async Task KeepAsync(CancellationToken cancellationToken)
    {
        await CloseAsync(cancellationToken);
        try
        {
            File.Move(WorkPath, path, overwrite: _force);
            _kept = true;
            FileCalls.SyncFolder(Path.GetDirectoryName(path) ?? "/");
        }
        catch (IOException e) when (!_kept)
        {
            throw EngineException.Failed($"Target file '{path}' cannot be put in its place: {e.Message}", inner: e);
        }
    }

    public override async ValueTask DisposeAsync()
    {
        if (_kept || !_made)
            return;
        await CloseAsync(CancellationToken.None);
        if (File.Exists(WorkPath))
            File.Delete(WorkPath);
    }

    protected abstract Task<IBlockTarget> CreateAsync(long size, CancellationToken cancellationToken);

    /// <summary>Closes the work file, whatever has it open.</summary>
    protected abstract Task CloseAsync(CancellationToken cancellationToken);
}
