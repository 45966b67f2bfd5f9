// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Engine.Doctor;

/// <summary>An answer, or why there is none.</summary>
internal sealed record Answer<T>(T? Value, string? Failure, string? Hint)
    where T : class;

/// <summary>
/// Questions to what may be stuck: after the limit nobody waits any more, and the call ends on its own, or with this process.
/// </summary>
internal static class Bounded
{
    public static async Task<Answer<T>> AskAsync<T>(
        Func<CancellationToken, Task<T>> question, TimeSpan limit, CancellationToken cancellationToken)
        where T : class
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        try
        {
            return new Answer<T>(await question(stop.Token).WaitAsync(limit, cancellationToken), null, null);
        }
        catch (TimeoutException)
        {
            await stop.CancelAsync();
            return new Answer<T>(null, $"There was no answer within {limit.TotalSeconds} s.", null);
        }
        catch (Exception e) when (e is not OperationCanceledException || !cancellationToken.IsCancellationRequested)
        {
            var failure = Failures.Translate(e);
            return new Answer<T>(null, failure.Message, failure.Hint);
        }
    }
}
