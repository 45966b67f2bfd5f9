// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Cli.Commands;

/// <summary>Something that is opened beside what its user does first. What nobody took is given up, or closed again.</summary>
internal sealed class Opening<T> : IAsyncDisposable
    where T : IAsyncDisposable
{
    private readonly CancellationTokenSource _giveUp;
    private Task<T>? _opening;

    /// <param name="open">Opens it.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    public Opening(Func<CancellationToken, Task<T>> open, CancellationToken cancellationToken)
    {
        _giveUp = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        _opening = Task.Run(() => open(_giveUp.Token), CancellationToken.None);
    }

    /// <summary>Waits until it is open; the caller owns it then.</summary>
    public async Task<T> TakeAsync()
    {
        var opening = _opening ?? throw new InvalidOperationException("It was taken already.");
        _opening = null;
        return await opening;
    }

    public async ValueTask DisposeAsync()
    {
        if (_opening is { } unused)
        {
            await _giveUp.CancelAsync();
            await ((Task)unused).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing); // its user failed before, for another reason
            if (unused.IsCompletedSuccessfully)
                await (await unused).DisposeAsync();
        }

        _giveUp.Dispose();
    }
}
